//go:build oracle

package tables

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postroad/internal/testkit"
)

// serverWord, as the first argument, makes this program a lookup server.
const serverWord = "lookup-server"

// protocols are the lookup servers by the name of their table type.
var protocols = map[string]testkit.Lookup{"tcp": testkit.TCPTable, "socketmap": testkit.Socketmap}

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == serverWord {
		fmt.Fprintln(os.Stderr, serverWord+":", serveMaps(os.Args[2], os.Args[3:]))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// serveMaps is a lookup server: it has the maps that files hold, each at an address
// of its own ("file=address"). It is a process because it is to be killed and
// stopped like any other, and it ends by an error only.
func serveMaps(protocol string, maps []string) error {
	ended := make(chan error)
	for _, m := range maps {
		file, address, _ := strings.Cut(m, "=")
		l, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		// goroutine: one map; ends with the process.
		go func() { ended <- acceptAll(l, protocols[protocol], file) }()
	}
	return <-ended
}

// acceptAll serves the map in a file.
func acceptAll(l net.Listener, answer testkit.Lookup, file string) error {
	find := func(key string) (string, bool) {
		data, err := os.ReadFile(file)
		if err != nil {
			return "", false
		}
		for line := range strings.Lines(string(data)) {
			if k, v, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " "); k == key {
				return v, true
			}
		}
		return "", false
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		// goroutine: ends when the connection is closed.
		go func() {
			defer func() { _ = c.Close() }()
			for r := bufio.NewReader(c); answer(r, c, find) == nil; {
			}
		}()
	}
}

// serverSource has the maps in a lookup server; spec names one by its address.
func serverSource(protocol, spec string) func(*testing.T, string) *source {
	return func(t *testing.T, dir string) *source {
		self, err := os.Executable()
		must(t, err)
		argv := []string{self, serverWord, protocol}
		maps := specs{}
		var last string
		for name, pairs := range contents {
			file := filepath.Join(dir, name+".map")
			for key, value := range pairs {
				appendTo(t, file, key+" "+value+"\n")
			}
			last = fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(t))
			maps[name] = fmt.Sprintf(spec, last)
			argv = append(argv, file+"="+last)
		}
		// Who answers at the last address has opened the others.
		d := testkit.StartDaemon(t, "tcp", last, argv...)
		return &source{
			maps: maps, kill: d.Kill, start: d.Start, pause: d.Pause, resume: d.Resume,
			add: func() { appendTo(t, filepath.Join(dir, "mailboxes.map"), "new@example.test new/\n") },
		}
	}
}

// appendTo adds text to a file.
func appendTo(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	must(t, err)
	_, err = f.WriteString(text)
	must(t, err)
	must(t, f.Close())
}
