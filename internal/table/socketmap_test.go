package table

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// socketmapWith opens a socketmap: table with a server for its connections.
func socketmapWith(t *testing.T, serve func(n int, c net.Conn)) (Table, *atomic.Int32) {
	t.Helper()
	tab, err := Open("socketmap:inet:server.test:1:the map", Options{UTF8: true})
	if err != nil {
		t.Fatal(err)
	}
	return tab, pipeServer(t, inner[*socketmap](t, tab).server, serve)
}

// netstring encodes s.
func netstring(s string) string { return strconv.Itoa(len(s)) + ":" + s + "," }

// replies serves netstrings: reply gets a question and returns the bytes to send.
func replies(reply func(question string) string) func(int, net.Conn) {
	return func(_ int, c net.Conn) {
		for r := bufio.NewReader(c); ; {
			question, err := readNetstring(r, 1<<20)
			if err != nil {
				return
			}
			if _, err := io.WriteString(c, reply(question)); err != nil {
				return
			}
		}
	}
}

// socketmapReplies are replies and what they mean.
var socketmapReplies = []struct{ reply, want string }{
	{netstring("OK value"), "value"},
	{netstring("OK two words, ü"), "two words, ü"},
	{netstring("OK "), ""},
	{netstring("OK"), ""},
	{"008:OK value,", "value"},
	{netstring("OK " + strings.Repeat("x", socketmapReply-3)), strings.Repeat("x", socketmapReply-3)},
	{netstring("OK " + strings.Repeat("x", socketmapReply-2)), "!larger than 100000"},
	{netstring("NOTFOUND "), missing},
	{netstring("NOTFOUND"), missing},
	{netstring("TEMP busy"), "!temporary error: busy"},
	{netstring("TEMP"), "!temporary error"},
	{netstring("TIMEOUT   slow\n"), "!timeout error: slow"},
	{netstring("PERM no such map"), "!permanent error: no such map"},
	{netstring("ok value"), "!unknown reply"},
	{netstring("OKAY value"), "!unknown reply"},
	{netstring(""), "!unknown reply"},
	{netstring("OK \xff"), "!UTF-8"},
	{netstring("OK a\x00b"), "!null byte"},
	{":,", "!unknown reply"},
	{"8:OK value;", "!netstring"},
	{"-1:OK value,", "!netstring"},
	{" 8:OK value,", "!netstring"},
	{"99999999999999999999:x,", "!larger than"},
	{"00000000000000000000:x,", "!larger than"},
	{"OK value\n", "!netstring"},
	{netstring("OK one") + netstring("OK two"), "!more than one"},
}

func TestSocketmapReplies(t *testing.T) {
	for _, test := range socketmapReplies {
		tab, _ := socketmapWith(t, replies(func(string) string { return test.reply }))
		want(t, fmt.Sprintf("%.50q", test.reply), outcome(tab, "key"), test.want)
		tab.Close()
	}
}

func TestSocketmapRequest(t *testing.T) {
	var asked []string
	tab, dials := socketmapWith(t, replies(func(question string) string {
		asked = append(asked, question)
		return netstring("NOTFOUND ")
	}))
	defer tab.Close()
	for _, key := range []string{"Key@Example.COM", "a b,ü\x00", "\xff"} {
		want(t, key, outcome(tab, key), missing)
	}
	if got := strings.Join(asked, "|"); got != "the map Key@Example.COM|the map a b,ü\x00" || dials.Load() != 1 {
		t.Errorf("requests are %q in %d connections", got, dials.Load())
	}
}

func TestSocketmapLimit(t *testing.T) {
	limit := func(name string) (string, bool) { return "10", name == "socketmap_max_reply_size" }
	tab, err := Open("socketmap:unix:/no/such:m", Options{Param: limit})
	if err != nil {
		t.Fatal(err)
	}
	defer tab.Close()
	want(t, "no socket", outcome(tab, "key"), "!connect to /no/such: No such file or directory")
	s := inner[*socketmap](t, tab)
	if s.server.network != "unix" {
		t.Errorf("network is %s", s.server.network)
	}
	size := 7
	pipeServer(t, s.server, replies(func(string) string { return netstring("OK " + strings.Repeat("x", size)) }))
	want(t, "a reply of 10 bytes", outcome(tab, "key"), "xxxxxxx")
	size++
	want(t, "a reply of 11 bytes", outcome(tab, "key"), "!larger than 10")
	for text, limit := range map[string]int{"1": 1, "0": socketmapReply, "many": socketmapReply, "-1": socketmapReply} {
		o := Options{Param: func(string) (string, bool) { return text, true }}
		if got := socketmapLimit(&o); got != limit {
			t.Errorf("socketmap_max_reply_size = %s gives %d", text, got)
		}
	}
}

// TestSocketmapTime: a connection that is lost is tried once more, everything
// else is not.
func TestSocketmapTime(t *testing.T) {
	tests := []struct {
		name  string
		serve func(int, net.Conn)
		want  string
		dials int32
		after time.Duration
	}{
		{"hangs", func(_ int, c net.Conn) { io.Copy(io.Discard, c) }, "!in time", 1, remoteTimeout},
		{"away", nil, "!refused", 1, 0},
		{"hangs up", func(int, net.Conn) {}, "!broken pipe", 2, 0},
		{"hangs up once", func(n int, c net.Conn) {
			if n == 2 {
				replies(func(string) string { return netstring("OK again") })(n, c)
			}
		}, "again", 2, 0},
		{"half a reply", func(_ int, c net.Conn) {
			readNetstring(bufio.NewReader(c), 100)
			io.WriteString(c, "8:OK va")
		}, "!EOF", 2, 0},
		{"in pieces", func(_ int, c net.Conn) {
			readNetstring(bufio.NewReader(c), 100)
			for _, b := range []byte(netstring("OK bit by bit")) {
				time.Sleep(time.Second)
				c.Write([]byte{b})
			}
		}, "bit by bit", 1, 17 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tab, dials := socketmapWith(t, test.serve)
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

func TestSocketmapNames(t *testing.T) {
	tests := []struct{ name, want string }{
		{"socketmap:name", "!requires server:socketmap"},
		{"socketmap:host:1:name", "!invalid transport name: host"},
		{"socketmap:inet:host:name", ""}, // port "host" of this machine, as in Postfix
		{"socketmap:inet:[::1:name", "!missing"},
		{"socketmap:unix:path:name", ""},
		{"tcp:[x", "!missing"},
	}
	for _, test := range tests {
		got := ""
		if _, err := Open(test.name, Options{}); err != nil {
			got = failed + err.Error()
		}
		want(t, test.name, got, test.want)
	}
	for _, name := range []string{"tcp:host:1", "socketmap:inet:host:1:name"} {
		if _, err := Open(name, Options{Trusted: true}); err == nil {
			t.Errorf("%s is trusted", name)
		}
	}
}

func FuzzNetstring(f *testing.F) {
	for _, test := range socketmapReplies {
		f.Add(test.reply)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := readNetstring(bufio.NewReader(strings.NewReader(s)), 1000)
		if err == nil && (len(got) > 1000 || !strings.HasSuffix(strings.TrimLeft(s, "0123456789")[:len(got)+2], ":"+got+",")) {
			t.Errorf("%q is read as %q", s, got)
		}
		if errors.Is(err, io.EOF) {
			t.Errorf("%q ends as if it were complete", s)
		}
	})
}

func FuzzSocketmapReply(f *testing.F) {
	for _, reply := range []string{"OK x", "NOTFOUND ", "TEMP x", "TIMEOUT", "PERM \xff", "", " "} {
		f.Add(reply)
	}
	f.Fuzz(func(t *testing.T, reply string) {
		value, ok, err := parseSocketmapReply(reply)
		word, text, _ := strings.Cut(reply, " ")
		if ok != (word == "OK" && err == nil) || ok && value != text || !ok && err == nil && word != "NOTFOUND" {
			t.Errorf("%q gives %q, %v, %v", reply, value, ok, err)
		}
	})
}
