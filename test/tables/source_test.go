//go:build oracle

package tables

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"postroad/internal/testkit"
)

// contents are the maps of the sources that are no SQL databases.
var contents = map[string]map[string]string{
	"domains":   {"example.test": "example.test"},
	"mailboxes": {"known@example.test": "known/"},
	"aliases":   {"list@example.test": "known@example.test"},
}

// filters are the maps in a directory.
var filters = map[string]string{
	"domains":   "query_filter = (service=%s)\nresult_attribute = service",
	"mailboxes": "query_filter = (address=%s)\nresult_attribute = store",
	"aliases":   "query_filter = (alternate=%s)\nresult_attribute = address",
}

// entries are what filters find.
const entries = `dn: dc=test
objectClass: domain
dc: test

dn: cn=domain,dc=test
objectClass: device
objectClass: extensibleObject
service: example.test

dn: cn=known,dc=test
objectClass: device
objectClass: extensibleObject
address: known@example.test
alternate: list@example.test
store: known/

`

// ldapSource has the maps in an OpenLDAP.
func ldapSource(t *testing.T, dir string) *source {
	d := testkit.Slapd(t, entries)
	common := fmt.Sprintf("server_host = ldap://127.0.0.1:%d\nversion = 3\nsearch_base = dc=test\ntimeout = 1\n", d.Port)
	return &source{
		maps: settings(t, dir, "ldap", common, filters),
		kill: d.Kill, start: d.Start, pause: d.Pause, resume: d.Resume,
		add: func() {
			cmd := exec.Command("ldapadd", "-x", "-H", fmt.Sprintf("ldap://127.0.0.1:%d", d.Port), "-D", "cn=admin,dc=test", "-w", "top secret")
			cmd.Stdin = strings.NewReader("dn: cn=new,dc=test\nobjectClass: device\nobjectClass: extensibleObject\naddress: new@example.test\nstore: new/\n")
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		},
	}
}

// formats are the maps in a memcached.
var formats = map[string]string{"domains": "key_format = domains:%s", "mailboxes": "key_format = mailboxes:%s", "aliases": "key_format = aliases:%s"}

// memcacheSource has the maps in a memcached, which does not keep them: one that
// is started takes the place of the old one when it has been filled.
func memcacheSource(t *testing.T, dir string) *source {
	socket := filepath.Join(dir, "memcached")
	var server *testkit.Daemon
	start := func() {
		server = testkit.Memcached(t, socket+".new")
		for name, pairs := range contents {
			for key, value := range pairs {
				store(t, socket+".new", name+":"+key, value)
			}
		}
		must(t, os.Rename(socket+".new", socket))
	}
	start()
	return &source{
		maps: settings(t, dir, "memcache", "memcache = unix:"+socket+"\ntimeout = 1\nmax_try = 1\n", formats),
		kill: func() { server.Kill() }, start: start, pause: func() { server.Pause() }, resume: func() { server.Resume() },
		add: func() { store(t, socket, "mailboxes:new@example.test", "new/") },
	}
}

// store puts a value into a memcached.
func store(t *testing.T, socket, key, value string) {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	must(t, err)
	defer func() { _ = conn.Close() }()
	_, err = fmt.Fprintf(conn, "set %s 0 0 %d\r\n%s\r\n", key, len(value), value)
	must(t, err)
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || line != "STORED\r\n" {
		t.Fatalf("set %s: %q, %v", key, line, err)
	}
}

// sqliteMaps has the maps in the file "db".
func sqliteMaps(t *testing.T, dir string) specs {
	each := map[string]string{}
	for name, query := range queries {
		each[name] = "query = " + query
	}
	return settings(t, dir, "sqlite", "dbpath = "+filepath.Join(dir, "db")+"\n", each)
}

// sqliteSource has the maps in a file. Killed it is replaced by nonsense, and it
// hangs when a writer has locked it.
func sqliteSource(t *testing.T, dir string) *source {
	path := filepath.Join(dir, "db")
	make := func(text string) {
		fresh := path + ".new"
		cmd := exec.Command("sqlite3", "-bail", fresh)
		cmd.Stdin = strings.NewReader(text)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("sqlite3: %v: %s", err, out)
		}
		must(t, os.Chmod(fresh, 0o644))
		must(t, os.Rename(fresh, path))
	}
	make(schema)
	var writer *exec.Cmd
	var orders io.WriteCloser
	return &source{
		maps:  sqliteMaps(t, dir),
		kill:  func() { must(t, os.WriteFile(path, []byte(strings.Repeat("no database ", 5000)), 0o644)) },
		start: func() { make(schema) },
		pause: func() {
			writer = exec.Command("sqlite3", "-bail", path)
			var err error
			orders, err = writer.StdinPipe()
			must(t, err)
			answers, err := writer.StdoutPipe()
			must(t, err)
			must(t, writer.Start())
			_, err = io.WriteString(orders, ".timeout 30000\nBEGIN EXCLUSIVE;\nSELECT 'locked';\n")
			must(t, err)
			if line, err := bufio.NewReader(answers).ReadString('\n'); err != nil || line != "locked\n" {
				t.Fatalf("sqlite3: %q, %v", line, err)
			}
		},
		resume: func() { must(t, orders.Close()); must(t, writer.Wait()) },
		add:    func() { make(schema + "INSERT INTO mailbox VALUES ('new@example.test', 'new/', 1);") },
	}
}
