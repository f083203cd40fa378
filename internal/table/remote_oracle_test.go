//go:build oracle

package table

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"postroad/internal/testkit"
)

// The tests in this file compare the tables that a server answers with those of
// an installed Postfix that asks the same server.

// theirs is what Postfix says of one key, in the words of outcome; the text of
// an error is its own.
func theirs(t *testing.T, dir, spec, key string) string {
	t.Helper()
	out, diag := postfix(t, dir, "", "postmap", "-q", key, spec)
	switch {
	case strings.Contains(diag, "fatal:"):
		return failed + diag
	case out == "" && !strings.Contains(diag, "empty string result"):
		return missing
	}
	return strings.TrimSuffix(out, "\n")
}

// same compares one lookup, errors as such.
func same(t *testing.T, dir, spec string, tab Table, key string) {
	t.Helper()
	ours, their := outcome(tab, key), theirs(t, dir, spec, key)
	if ours != their && !(strings.HasPrefix(ours, failed) && strings.HasPrefix(their, failed)) {
		t.Errorf("%s: %.60q gives %.200q, Postfix says %.200q", clip(spec, 60), key, ours, their)
	}
}

// openSpec opens a table and closes it at the end of the test.
func openSpec(t *testing.T, spec string) Table {
	t.Helper()
	tab, err := Open(spec, Options{UTF8: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tab.Close() })
	return tab
}

// serveEach serves on a port of the loopback interface until the test ends:
// answer reads a question and answers it.
func serveEach(t *testing.T, answer func(*bufio.Reader, io.Writer) error) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	// goroutine: ends when the listener is closed.
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			// goroutine: ends when the client closes the connection.
			go func() {
				defer c.Close()
				for r := bufio.NewReader(c); answer(r, c) == nil; {
				}
			}()
		}
	}()
	return l.Addr().String()
}

// replyServer answers a question that ends in "k" and a number with that reply;
// the question is read by ask.
func replyServer(t *testing.T, ask func(*bufio.Reader) (string, error), reply func(n int) string) string {
	return serveEach(t, func(r *bufio.Reader, w io.Writer) error {
		question, err := ask(r)
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(question[strings.LastIndexByte(question, 'k')+1:])
		if err == nil {
			_, err = io.WriteString(w, reply(n))
		}
		return err
	})
}

func TestOracleTCPReplies(t *testing.T) {
	t.Parallel()
	dir := oracleDir(t)
	address := replyServer(t, func(r *bufio.Reader) (string, error) {
		line, err := r.ReadString('\n')
		return strings.TrimSuffix(line, "\n"), err
	}, func(n int) string { return tcpReplies[n].reply })
	tab := openSpec(t, "tcp:"+address)
	for n, test := range tcpReplies {
		// Postfix tries these ten times; it looks at one reply of two, and ends
		// its text at a null byte.
		if strings.Contains(test.want, "text longer") || strings.Contains(test.want, "more than one") || strings.Contains(test.want, "null byte") {
			continue
		}
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			same(t, dir, "tcp:"+address, tab, fmt.Sprint("k", n))
		})
	}
}

func TestOracleSocketmapReplies(t *testing.T) {
	t.Parallel()
	dir := oracleDir(t)
	address := replyServer(t, func(r *bufio.Reader) (string, error) { return readNetstring(r, 1000) },
		func(n int) string { return socketmapReplies[n].reply })
	spec := "socketmap:inet:" + address + ":map"
	tab := openSpec(t, spec)
	for n, test := range socketmapReplies {
		// "OK" without a space is an empty text since Postfix 3.11; a length that
		// is a row of zeros is no harm to Postfix.
		if test.reply == netstring("OK") || strings.HasPrefix(test.reply, "0000") || strings.Contains(test.want, "more than one") || strings.Contains(test.want, "null byte") {
			continue
		}
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			same(t, dir, spec, tab, fmt.Sprint("k", n))
		})
	}
}

// hostileKeys returns keys as a hostile peer would make them.
func hostileKeys(r *rand.Rand, n int) []string {
	const special = "*()\\,+\"<>;=#%|&!~:/ '`$@@.."
	var keys []string
	for range n {
		var b strings.Builder
		for range 1 + r.IntN(10) {
			switch r.IntN(4) {
			case 0:
				b.WriteByte(special[r.IntN(len(special))])
			case 1:
				b.WriteString(pick(r, "é", "ü", "ж", "字", "😀", "İ", "ß", "\u00a0", "\ufffd"))
			default:
				b.WriteString(pick(r, "a", "B", "c1", "d-e", "F_"))
			}
		}
		keys = append(keys, b.String()+pick(r, "", "", "@example.com", "@Example.COM", "@", "@b.example.net", "@x"))
	}
	return append(keys, "@example.com", "example.com", "*", "*@*", "a@b@example.com", "@", "a@", ".", "(", ")", "\\", "\\2a", "a*", "a)(b=*", "a,dc=x")
}

// TestOracleServers compares many keys over both protocols of simple servers:
// one finds a key when its bytes add up to an even number.
func TestOracleServers(t *testing.T) {
	t.Parallel()
	dir := oracleDir(t)
	keys := hostileKeys(rand.New(rand.NewPCG(9, 10)), 400)
	value := func(key string) (string, bool) {
		sum := 0
		for i := 0; i < len(key); i++ {
			sum += int(key[i])
		}
		return "value of " + key, sum%2 == 0
	}
	tcp := serveEach(t, func(r *bufio.Reader, w io.Writer) error {
		line, err := r.ReadString('\n')
		if err != nil {
			return err
		}
		key, _ := hexUnquote(strings.TrimSuffix(strings.TrimPrefix(line, "get "), "\n"))
		if v, ok := value(key); ok {
			_, err = fmt.Fprintf(w, "200 %s\n", appendHexQuoted(nil, v))
		} else {
			_, err = io.WriteString(w, "500 no\n")
		}
		return err
	})
	agree(t, dir, "tcp:"+tcp, keys)
	socketmap := serveEach(t, func(r *bufio.Reader, w io.Writer) error {
		question, err := readNetstring(r, 1000)
		if err != nil {
			return err
		}
		if v, ok := value(strings.TrimPrefix(question, "map ")); ok {
			_, err = io.WriteString(w, netstring("OK "+v))
		} else {
			_, err = io.WriteString(w, netstring("NOTFOUND "))
		}
		return err
	})
	agree(t, dir, "socketmap:inet:"+socketmap+":map", keys)
}

// startMemcached starts a memcached on a port.
func startMemcached(t *testing.T, port string) *testkit.Daemon {
	t.Helper()
	return testkit.StartDaemon(t, "tcp", "127.0.0.1:"+port, "memcached", "-l", "127.0.0.1", "-p", port, "-u", "nobody", "-U", "0")
}

func TestOracleMemcached(t *testing.T) {
	t.Parallel()
	dir := oracleDir(t)
	port := strconv.Itoa(testkit.FreePort(t))
	startMemcached(t, port)
	r := rand.New(rand.NewPCG(7, 8))
	keys := hostileKeys(r, 400)
	conn, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	replies := bufio.NewReader(conn)
	for i, key := range keys {
		if i%2 == 0 || strings.ContainsAny(key, " ") {
			continue
		}
		value := fmt.Sprintf("value %d é", i)
		for _, k := range []string{Fold(key, true), "p:" + Fold(key, true)} {
			fmt.Fprintf(conn, "set %s 0 0 %d\r\n%s\r\n", k, len(value), value)
			if line, err := replies.ReadString('\n'); err != nil || line != "STORED\r\n" {
				t.Fatalf("set %q: %q, %v", k, line, err)
			}
		}
	}
	source := writeFile(t, dir, "backup", "only@example.com in the backup\nbig@example.com "+strings.Repeat("x", 20000)+"\n")
	server := "memcache = inet:127.0.0.1:" + port + "\n"
	for i, settings := range []string{
		"",
		"key_format = p:%s\n",
		"key_format = p:%u@%d\n",
		"key_format = %s\ndomain = example.com, b.example.net\n",
		"backup = texthash:" + source + "\nttl = 5\n",
	} {
		spec := "memcache:" + writeFile(t, dir, fmt.Sprint("memcache", i, ".cf"), server+settings)
		agree(t, dir, spec, append(keys, "only@example.com", "big@example.com", "missing@example.com"))
	}
	// What one side stored, the other finds.
	spec := "memcache:" + writeFile(t, dir, "plain.cf", server)
	want(t, "stored by a backup", outcome(openSpec(t, spec), "only@example.com"), "in the backup")
	same(t, dir, spec, openSpec(t, spec), "only@example.com")
	same(t, dir, spec, openSpec(t, spec), strings.Repeat("k", 250))
	same(t, dir, spec, openSpec(t, spec), strings.Repeat("k", 251))
}

// TestOracleMemcachedAway: a server that is stopped, killed and started again.
func TestOracleMemcachedAway(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	socket := filepath.Join(dir, "memcached.sock")
	server := testkit.Memcached(t, socket)
	tab := openSpec(t, "memcache:"+writeFile(t, dir, "m.cf", "memcache = unix:"+socket+"\ntimeout = 1\n"))
	want(t, "a server", outcome(tab, "key"), missing)
	server.Pause()
	want(t, "a stopped server", outcome(tab, "key"), "!in time")
	server.Resume()
	want(t, "a server that goes on", outcome(tab, "key"), missing)
	server.Kill()
	want(t, "no socket", outcome(tab, "key"), "!No such file")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	want(t, "a dead server", outcome(tab, "key"), "!refused")
	os.Remove(socket)
	server.Start()
	want(t, "a new server", outcome(tab, "key"), missing)
}

// step is something that happens to a server, and whether it answers after that.
type step struct {
	name  string
	do    func()
	alive bool
}

// underLoad has clients ask for a key that is there and for one that is not,
// while the steps happen to the server, and waits after each until the clients
// see what has happened.
func underLoad(t *testing.T, tab Table, key, value string, steps []step) {
	t.Helper()
	answers, done := make(chan string), make(chan struct{})
	var wg sync.WaitGroup
	for n := range 6 {
		wg.Go(func() {
			for {
				k, wanted := key, value
				if n%2 == 1 {
					k, wanted = "no-such-key", missing
				}
				got := outcome(tab, k)
				if got != wanted && !strings.HasPrefix(got, failed) {
					t.Errorf("%s gives %q, want %q", k, got, wanted)
				}
				select {
				case answers <- got:
				case <-done:
					return
				}
			}
		})
	}
	const enough = 30
	for _, s := range steps {
		s.do()
		for right := 0; right < enough; {
			if strings.HasPrefix(<-answers, failed) != s.alive {
				right++
			}
		}
	}
	close(done)
	wg.Wait()
}

// TestOracleMemcachedLoad is TestOracleLDAPLoad for memcache:.
func TestOracleMemcachedLoad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	port := strconv.Itoa(testkit.FreePort(t))
	server := startMemcached(t, port)
	source := writeFile(t, dir, "backup", "key value\n")
	settings := "memcache = inet:127.0.0.1:" + port + "\ntimeout = 1\nmax_try = 1\n"
	fill := openSpec(t, "memcache:"+writeFile(t, dir, "fill.cf", settings+"backup = texthash:"+source))
	tab := openSpec(t, "memcache:"+writeFile(t, dir, "plain.cf", settings))
	outcome(fill, "key")
	underLoad(t, tab, "key", "value", []step{
		{"up", func() {}, true},
		{"stopped", server.Pause, false},
		{"goes on", server.Resume, true},
	})
	server.Kill()
	server.Start()
	outcome(fill, "key")
	underLoad(t, tab, "key", "value", []step{
		{"up", func() {}, true},
		{"killed", server.Kill, false},
	})
}
