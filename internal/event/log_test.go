package event

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// line is an event of fixed text.
type line string

func (e line) AppendText(dst []byte) []byte { return AppendPrintable(dst, string(e)) }

var zone = time.FixedZone("CET", 3600)

// moment is a second of day 2, where the two date forms differ.
func moment(sec int) time.Time { return time.Date(2026, 11, 2, 12, 36, sec, 0, time.UTC) }

func TestLogFileForm(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "maillog")
	l, err := OpenLog(LogOptions{File: path, Hostname: "mx.example.test", Location: zone})
	if err != nil {
		t.Fatal(err)
	}
	l.Write(moment(1), "postfix/smtpd", 9804, line("connect from unknown[127.0.0.1]"))
	l.Write(moment(2), "postfix/qmgr", 7, line("a\nb\x7f\tü"))
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	// Rotation: what is written after Reopen is in the new file.
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}
	l.Write(moment(3), "postfix/master", 1, Notice{"warning", "x"})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l.Write(moment(4), "late", 1, line("after the end"))
	for name, want := range map[string]string{
		path + ".1": "Nov 02 13:36:01 mx postfix/smtpd[9804]: connect from unknown[127.0.0.1]\n" +
			"Nov 02 13:36:02 mx postfix/qmgr[7]: a?b??ü\n",
		path: "Nov 02 13:36:03 mx postfix/master[1]: warning: x\n",
	} {
		got, err := os.ReadFile(name)
		if err != nil || string(got) != want {
			t.Errorf("%s: %q, %v; want %q", name, got, err, want)
		}
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
}

// TestLogAddressForm is info_log_address_format.
func TestLogAddressForm(t *testing.T) {
	t.Parallel()
	for internal, want := range map[bool]string{false: `from=<"a b"@c.test>`, true: `from=<a b@c.test>`} {
		path := filepath.Join(t.TempDir(), "mail.log")
		l, err := OpenLog(LogOptions{File: path, Hostname: "mx", Location: zone, Internal: internal})
		if err != nil {
			t.Fatal(err)
		}
		l.Write(moment(1), "postfix/qmgr", 7, line(`Q: from=<"a b"@c.test>`))
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || !strings.HasSuffix(string(got), "qmgr[7]: Q: "+want+"\n") {
			t.Errorf("internal %v: %q, %v", internal, got, err)
		}
	}
}

func TestLogSyslogForm(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	server, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	l, err := OpenLog(LogOptions{Socket: path, Location: zone})
	if err != nil {
		t.Fatal(err)
	}
	receive := func() string {
		buf := make([]byte, 4096)
		server.SetReadDeadline(time.Now().Add(5 * time.Second))
		n, err := server.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
	for _, tt := range []struct {
		e    Event
		want string
	}{
		{line("connect"), "<22>Nov  2 13:36:01 postfix/smtpd[5]: connect"},
		{Notice{"warning", "w"}, "<20>Nov  2 13:36:01 postfix/smtpd[5]: warning: w"},
		{line("error: typed"), "<19>Nov  2 13:36:01 postfix/smtpd[5]: error: typed"},
		{Notice{"fatal", "f"}, "<18>Nov  2 13:36:01 postfix/smtpd[5]: fatal: f"},
		{line("QID: warning: header"), "<22>Nov  2 13:36:01 postfix/smtpd[5]: QID: warning: header"},
	} {
		l.Write(moment(1), "postfix/smtpd", 5, tt.e)
		if got := receive(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
	// A syslogd that was restarted is found again.
	server.Close()
	os.Remove(path)
	if server, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"}); err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	l.Write(moment(2), "postfix/smtpd", 5, line("again"))
	if got := receive(); !strings.HasSuffix(got, ": again") {
		t.Errorf("got %q", got)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

func TestLogChange(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	l, err := OpenLog(LogOptions{File: one, Hostname: "old", Location: zone})
	if err != nil {
		t.Fatal(err)
	}
	l.Write(moment(1), "t", 1, line("first"))
	if err := l.Change(LogOptions{File: filepath.Join(dir, "no", "such")}); err == nil {
		t.Error("a log that cannot be opened is taken")
	}
	l.Write(moment(2), "t", 1, line("second"))
	if err := l.Change(LogOptions{File: two, Hostname: "new", Location: zone}); err != nil {
		t.Fatal(err)
	}
	l.Write(moment(2), "t", 1, line("third"))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		one: "Nov 02 13:36:01 old t[1]: first\nNov 02 13:36:02 old t[1]: second\n",
		two: "Nov 02 13:36:02 new t[1]: third\n",
	} {
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
}

func TestLogFacilities(t *testing.T) {
	t.Parallel()
	for name, code := range facilities {
		got, err := facilityCode(name)
		if err != nil || got != code*8 {
			t.Errorf("%s: %d, %v", name, got, err)
		}
		// Severities are replaced in place, which needs equal widths.
		if len(fmt.Sprint(got|2)) != len(fmt.Sprint(got|severityInfo)) {
			t.Errorf("%s has severities of different widths", name)
		}
	}
	if _, err := OpenLog(LogOptions{Facility: "nonsense"}); err == nil {
		t.Error("a bad facility is accepted")
	}
}

func TestCheckLogFile(t *testing.T) {
	t.Parallel()
	prefixes := []string{"/var", "/dev/stdout"}
	for file, ok := range map[string]bool{
		"": true, "/var/log/maillog": true, "/dev/stdout": true, "/variable/x": false, "/etc/passwd": false,
		"/var/../etc/passwd": false, "relative": false,
	} {
		if err := CheckLogFile(file, prefixes); (err == nil) != ok {
			t.Errorf("%q: %v", file, err)
		}
	}
}

// stuck is a standard output that takes nothing until it is told to.
type stuck struct {
	mu   sync.Mutex
	open chan struct{}
	text bytes.Buffer
}

func (s *stuck) Write(p []byte) (int, error) {
	<-s.open
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *stuck) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func TestLogNeverWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out := &stuck{open: make(chan struct{})}
		m := NewMetrics()
		l, err := OpenLog(LogOptions{File: "/dev/stdout", Stdout: out, Metrics: m})
		if err != nil {
			t.Fatal(err)
		}
		long := line(strings.Repeat("x", 10000))
		for range 3 * logMax / len(long) {
			l.Write(moment(1), "postfix/smtpd", 1, long)
		}
		synctest.Wait() // the writer hangs, nobody else
		close(out.open)
		if err := l.Flush(); err != nil {
			t.Fatal(err)
		}
		l.Write(moment(2), "postfix/smtpd", 1, line("at last"))
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		text := out.String()
		if !strings.Contains(text, "lines of the mail log were lost") || !strings.Contains(text, "at last") {
			t.Errorf("the log of %d bytes, ending in %q, does not tell of lost lines", len(text), text[max(0, len(text)-100):])
		}
		if len(text) > 2*logMax {
			t.Errorf("%d bytes were kept", len(text))
		}
	})
}

func TestLogCloseDoesNotHang(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out := &stuck{open: make(chan struct{})}
		l, err := OpenLog(LogOptions{File: "/dev/stdout", Stdout: out})
		if err != nil {
			t.Fatal(err)
		}
		l.Write(moment(1), "t", 1, line("never"))
		if err := l.Close(); !errors.Is(err, errHung) {
			t.Errorf("Close: %v", err)
		}
		close(out.open) // let the writer end
		synctest.Wait()
	})
}

// failing is a standard output on a full disk.
type failing struct {
	fail bool
	text bytes.Buffer
}

func (f *failing) Write(p []byte) (int, error) {
	if f.fail {
		return 0, errors.New("no space left on device")
	}
	return f.text.Write(p)
}

func TestLogCountsLostLines(t *testing.T) {
	t.Parallel()
	out := &failing{fail: true}
	l, err := OpenLog(LogOptions{File: "/dev/stdout", Stdout: out})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		l.Write(moment(i), "postfix/smtpd", 1, line("lost"))
	}
	if err := l.Flush(); err == nil {
		t.Error("Flush hides the failure")
	}
	out.fail = false
	l.Write(moment(9), "postfix/smtpd", 1, line("kept"))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if text := out.text.String(); !strings.Contains(text, "warning: 5 lines of the mail log were lost\n") || !strings.Contains(text, "]: kept\n") {
		t.Errorf("log: %q", text)
	}
}

func TestLogFlushesByItself(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out := &stuck{open: make(chan struct{})}
		close(out.open)
		l, err := OpenLog(LogOptions{File: "/dev/stdout", Stdout: out})
		if err != nil {
			t.Fatal(err)
		}
		l.Write(moment(1), "t", 1, line("one"))
		time.Sleep(logDelay / 2)
		synctest.Wait()
		if out.String() != "" {
			t.Error("written before its time")
		}
		time.Sleep(logDelay)
		synctest.Wait()
		if !strings.HasSuffix(out.String(), "one\n") {
			t.Errorf("not written: %q", out.String())
		}
		l.Close()
	})
}

func TestSubscribe(t *testing.T) {
	t.Parallel()
	l, err := OpenLog(LogOptions{File: "/dev/stdout", Stdout: &bytes.Buffer{}})
	if err != nil {
		t.Fatal(err)
	}
	slow, _ := l.Subscribe(1)
	quick, end := l.Subscribe(10)
	for i := range 3 {
		l.Write(moment(i), "postfix/smtpd", i, line("text"))
	}
	if got := <-quick; got.Tag != "postfix/smtpd" || got.Text != "text" || got.PID != 0 || got.Event != line("text") {
		t.Errorf("got %+v", got)
	}
	end()
	end()
	<-quick
	<-quick
	if _, open := <-quick; open {
		t.Error("the channel is open after its end")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	n := 0
	for range slow {
		n++
	}
	if n != 1 {
		t.Errorf("the slow watcher got %d lines, want 1", n)
	}
}

func TestLogConcurrent(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "maillog")
	l, err := OpenLog(LogOptions{File: path, Metrics: NewMetrics()})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 500 {
				l.Write(time.Now(), "postfix/smtpd", w, line(fmt.Sprintf("writer %d line %d", w, i)))
			}
		})
	}
	wg.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	next := map[int]int{}
	for _, row := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
		_, said, _ := strings.Cut(row, "]: ")
		var w, i int
		if _, err := fmt.Sscanf(said, "writer %d line %d", &w, &i); err != nil {
			t.Fatalf("torn line %q", row)
		}
		if i != next[w] {
			t.Fatalf("writer %d: line %d after %d", w, i, next[w]-1)
		}
		next[w]++
	}
	if len(next) != 8 || next[0] != 500 {
		t.Errorf("lines are missing: %v", next)
	}
}

func BenchmarkLogWrite(b *testing.B) {
	l, err := OpenLog(LogOptions{File: "/dev/stdout", Stdout: discard{}, Metrics: NewMetrics()})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	e := sampleDelivery()
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		l.Write(now, "postfix/smtp", 1234, e)
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
