package table

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// fakeMemcached is a server that knows get and set.
type fakeMemcached struct {
	values map[string]string
	// log has the lines of the client.
	log []string
	// gets replaces the reply to a get when it is not nil.
	gets func(n int, key string) string
}

// serve handles one connection.
func (f *fakeMemcached) serve(_ int, c net.Conn) {
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimSuffix(line, "\r\n")
		f.log = append(f.log, line)
		words := strings.Split(line, " ")
		reply := "ERROR\r\n"
		switch {
		case words[0] == "get" && f.gets != nil:
			reply = f.gets(len(f.log), words[1])
		case words[0] == "get" && len(words) == 2:
			reply = "END\r\n"
			if value, ok := f.values[words[1]]; ok {
				reply = fmt.Sprintf("VALUE %s 0 %d\r\n%s\r\nEND\r\n", words[1], len(value), value)
			}
		case words[0] == "set" && len(words) == 5:
			value, err := r.ReadString('\n')
			if err != nil {
				return
			}
			f.values[words[1]] = strings.TrimSuffix(value, "\r\n")
			reply = "STORED\r\n"
		}
		if _, err := io.WriteString(c, reply); err != nil {
			return
		}
	}
}

// memcacheWith opens a memcache: table with these settings and a fake server.
func memcacheWith(t *testing.T, settings string, serve func(int, net.Conn)) (Table, *atomic.Int32) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "memcache.cf")
	if err := os.WriteFile(path, []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	tab, err := Open("memcache:"+path, Options{UTF8: true, Warn: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	return tab, pipeServer(t, inner[*memcacheTable](t, tab).server, serve)
}

// memcacheReplies are replies to "get key" and what they mean.
var memcacheReplies = []struct{ reply, want string }{
	{"END\r\n", missing},
	{"END\n", missing},
	{"VALUE key 0 5\r\nvalue\r\nEND\r\n", "value"},
	{"VALUE key 4294967295 5 77\nvalue\r\nEND\n", "value"},
	{"VALUE key 0 0\r\n\r\nEND\r\n", ""},
	{"VALUE key 0 7\r\na\r\nEND\r\r\nEND\r\n", "a\r\nEND\r"},
	{"VALUE key 0 20\r\n" + strings.Repeat("x", 20) + "\r\nEND\r\n", strings.Repeat("x", 20)},
	{"VALUE key 0 21\r\n" + strings.Repeat("x", 21) + "\r\nEND\r\n", "!unexpected"},
	{"VALUE other 0 5\r\nvalue\r\nEND\r\n", "!unexpected"},
	{"VALUE key 0 5\r\nvalue\r\nVALUE key 0 5\r\nvalue\r\nEND\r\n", "!unexpected"},
	{"VALUE key 0 4\r\nvalue\r\nEND\r\n", "!unexpected"},
	{"VALUE key 0 -1\r\nvalue\r\nEND\r\n", "!unexpected"},
	{"VALUE key 0 99999999999999999999\r\n", "!unexpected"},
	{"VALUE key 0\r\nvalue\r\nEND\r\n", "!unexpected"},
	{"VALUE key 0 5\r\nval\x00e\r\nEND\r\n", "!null byte"},
	{"VALUE key 0 3\r\n\xff\xfe\xfd\r\nEND\r\n", "!UTF-8"},
	{"END\r\nEND\r\n", "!more than one"},
	{"ERROR\r\n", "!unexpected"},
	{"CLIENT_ERROR line format\r\n", "!unexpected"},
	{"SERVER_ERROR out of memory\r\n", "!unexpected"},
	{"\r\n", "!unexpected"},
	{strings.Repeat("x", 62) + "\r\n", "!unexpected"},
	{strings.Repeat("x", 63) + "\r\n", "!text longer than 64"},
}

func TestMemcacheReplies(t *testing.T) {
	for _, test := range memcacheReplies {
		synctest.Test(t, func(t *testing.T) {
			f := &fakeMemcached{gets: func(int, string) string { return test.reply }}
			tab, _ := memcacheWith(t, "line_size_limit = 64\ndata_size_limit = 20\n", f.serve)
			defer tab.Close()
			want(t, fmt.Sprintf("%.60q", test.reply), outcome(tab, "key"), test.want)
		})
	}
}

func TestMemcacheKeys(t *testing.T) {
	tests := []struct {
		settings, key, want string
	}{
		{"", "Joe@Example.COM", "get joe@example.com"},
		{"", "two words", ""},
		{"", "", ""},
		{"", "a\x00b", ""},
		{"", "ü@x", "get ü@x"},
		{"key_format = alias:%s", "joe", "get alias:joe"},
		{"key_format = %%%u/%d/%1", "joe@mail.example", "get %joe/mail.example/example"},
		{"key_format = %u", "joe", "get joe"},
		{"key_format = %u", "@x", ""},
		{"key_format = %d", "joe", ""},
		{"key_format = %3", "joe@a.b", ""},
		{"key_format = x y%s", "joe", ""},
		{"key_digest = MD5\nkey_format = a%s", "bc", "get 900150983cd24fb0d6963f7d28e17f72"},
		{"key_digest = sha256", "abc", "get ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
		{"key_digest = md5", "two words", "get 573eb82c528c319f0097158784ff0aed"},
		{"domain = example.com, other.test", "joe@example.com", "get joe@example.com"},
		{"domain = example.com", "joe@sub.example.com", ""},
		{"domain = example.com", "@example.com", ""},
		{"domain = example.com", "joe", ""},
	}
	for _, test := range tests {
		f := &fakeMemcached{}
		tab, _ := memcacheWith(t, test.settings, f.serve)
		want(t, test.key, outcome(tab, test.key), missing)
		got := strings.Join(f.log, "|")
		if got != test.want {
			t.Errorf("%q with %q asks %q, want %q", test.key, test.settings, got, test.want)
		}
		tab.Close()
	}
}

// TestMemcacheBackup: the backup is asked for what the server does not have, its
// answer goes into the server, and its error counts.
func TestMemcacheBackup(t *testing.T) {
	backup := "backup = inline:{a=one, b=" + strings.Repeat("x", 30) + "}\ndata_size_limit = 20\nkey_format = p:%s\nttl = 60\nflags = 7\n"
	f := &fakeMemcached{values: map[string]string{"p:b": "cached"}}
	tab, _ := memcacheWith(t, backup, f.serve)
	for _, wanted := range []string{"one", "one"} {
		want(t, "a", outcome(tab, "A"), wanted)
	}
	want(t, "b", outcome(tab, "b"), "cached")
	delete(f.values, "p:b")
	want(t, "b", outcome(tab, "b"), strings.Repeat("x", 30))
	want(t, "c", outcome(tab, "c"), missing)
	if got := strings.Join(f.log, "|"); got != "get p:a|set p:a 7 60 3|get p:a|get p:b|get p:b|get p:c" {
		t.Errorf("the client says %q", got)
	}
	var listed []string
	if err := tab.(Lister).Each(func(e Entry) bool { listed = append(listed, e.Key); return true }); err != nil || len(listed) != 2 {
		t.Errorf("the list of the backup is %v, %v", listed, err)
	}
	tab.Close()

	tab, dials := memcacheWith(t, backup, nil)
	want(t, "a without server", outcome(tab, "a"), "one")
	want(t, "c without server", outcome(tab, "c"), missing)
	if dials.Load() != 2 {
		t.Errorf("%d connections", dials.Load())
	}
	tab.Close()

	tab, _ = memcacheWith(t, "backup = fail:x\n", f.serve)
	want(t, "a broken backup", outcome(tab, "a"), "!Application error")
	tab.Close()
}

func TestMemcacheTime(t *testing.T) {
	tests := []struct {
		name, settings, want string
		serve                func(int, net.Conn)
		dials                int32
		after                time.Duration
	}{
		{"hangs", "", "!in time", func(_ int, c net.Conn) { io.Copy(io.Discard, c) }, 2, 5 * time.Second},
		{"hangs, other settings", "timeout = 7\nmax_try = 3\nretry_pause = 5\n", "!in time",
			func(_ int, c net.Conn) { io.Copy(io.Discard, c) }, 3, 31 * time.Second},
		{"away", "", "!refused", nil, 1, 0},
		{"hangs up", "", "!EOF", func(_ int, c net.Conn) { bufio.NewReader(c).ReadString('\n') }, 2, time.Second},
		{"garbage first", "", "value", (&fakeMemcached{gets: func(n int, key string) string {
			if n == 1 {
				return "ERROR\r\n"
			}
			return "VALUE key 0 5\r\nvalue\r\nEND\r\n"
		}}).serve, 2, time.Second},
		{"half", "", "!EOF", func(_ int, c net.Conn) {
			bufio.NewReader(c).ReadString('\n')
			io.WriteString(c, "VALUE key 0 5\r\nval")
		}, 2, time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tab, dials := memcacheWith(t, test.settings, test.serve)
				defer tab.Close()
				start := time.Now()
				want(t, test.name, outcome(tab, "key"), test.want)
				if d := time.Since(start); d != test.after || dials.Load() != test.dials {
					t.Errorf("%v and %d connections", d, dials.Load())
				}
			})
		})
	}
}

func TestMemcacheSettings(t *testing.T) {
	tests := []struct{ settings, want string }{
		{"ttl = x", "!bad numerical"},
		{"max_try = 0", "!invalid max_try"},
		{"line_size_limit = 0", "!invalid line_size_limit"},
		{"key_format = %x", "!Invalid query template"},
		{"key_digest = rot13", "!rot13 is not available"},
		{"memcache = tcp:localhost:1", "!invalid transport"},
		{"memcache = localhost", "!need transport:endpoint"},
		{"memcache = inet:[::1", "!missing"},
		{"backup = nothing:x", "!unsupported"},
		{"memcache = unix:/no/such\nresult_format = %x\nexpansion_limit = many", ""},
	}
	dir := t.TempDir()
	for i, test := range tests {
		path := filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(path, []byte(test.settings), 0o600); err != nil {
			t.Fatal(err)
		}
		got := ""
		tab, err := Open("memcache:"+path, Options{})
		if err != nil {
			got = failed + err.Error()
		} else {
			tab.Close()
		}
		want(t, test.settings, got, test.want)
	}
	loop := filepath.Join(dir, "loop")
	if err := os.WriteFile(loop, []byte("backup = memcache:"+loop), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open("memcache:"+loop, Options{}); err == nil || !strings.Contains(err.Error(), "deep") {
		t.Errorf("a table that is its own backup: %v", err)
	}
}

func FuzzMemcacheReply(f *testing.F) {
	for _, test := range memcacheReplies {
		f.Add(test.reply)
	}
	m := &memcacheTable{maxLine: 64, maxData: 20}
	f.Fuzz(func(t *testing.T, reply string) {
		c := &remoteConn{r: bufio.NewReader(strings.NewReader(reply))}
		value, ok, err := m.readValue(c, "key")
		if len(value) > m.maxData || ok && !strings.HasPrefix(reply, "VALUE") || !ok && err == nil && !strings.HasPrefix(reply, "END") {
			t.Errorf("%q gives %q, %v, %v", reply, value, ok, err)
		}
	})
}
