package control

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"postroad/internal/event"
	"postroad/internal/mail"
)

// fake is a server with two messages.
type fake struct {
	mu      sync.Mutex
	calls   []string
	entries []*Entry
	message *Message
	err     error
}

func (f *fake) note(format string, args ...any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, fmt.Sprintf(format, args...))
	return f.err
}

func (f *fake) List(_ context.Context, yield func(*Entry) error) error {
	for _, e := range f.entries {
		if err := yield(e); err != nil {
			return err
		}
	}
	return f.note("list")
}

func (f *fake) Change(_ context.Context, op Op, s Selection, report func(mail.QueueID)) (int, error) {
	for _, id := range s.IDs {
		report(id)
	}
	return len(s.IDs), f.note("%s %d %v %v", op, len(s.IDs), s.All, s.Queues)
}

func (f *fake) Cat(_ context.Context, id mail.QueueID) (*Message, error) {
	if f.message == nil || f.message.Envelope.ID != id {
		return nil, fmt.Errorf("cat: %w", ErrNotFound)
	}
	return f.message, nil
}

func (f *fake) Status(context.Context) (Status, error) {
	return Status{PID: 42, Version: "v", Messages: map[string]int{"active": 3}}, f.note("status")
}
func (f *fake) Flush(_ context.Context, fl Flush) error { return f.note("flush %s %s", fl.ID, fl.Site) }
func (f *fake) Pickup(context.Context) error            { return f.note("pickup") }
func (f *fake) Reload(context.Context) error            { return f.note("reload") }
func (f *fake) Limits(_ context.Context, s LimitSelection, yield func(*Limit) error) error {
	for _, key := range []string{"alice", "bob"} {
		if err := yield(&Limit{Rule: s.Rule, Key: key, Used: []LimitUse{{time.Hour, 3}}}); err != nil {
			return err
		}
	}
	return f.note("limits %s %s", s.Rule, s.Key)
}
func (f *fake) ResetLimits(_ context.Context, s LimitSelection) (int, error) {
	return 7, f.note("reset %s %s", s.Rule, s.Key)
}
func (f *fake) Stop(context.Context) error { return f.note("stop") }

// serve runs a server on a socket of its own.
func serve(t *testing.T, f *fake, p Policy) *Client {
	t.Helper()
	dir := t.TempDir()
	ln, err := Listen(dir, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	s := &Server{Handler: f, Policy: p}
	go func() { ended <- s.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return NewClient(dir)
}

func owner() Policy { return Policy{Owner: os.Getuid()} }

func TestRequests(t *testing.T) {
	t.Parallel()
	f := &fake{}
	c := serve(t, f, owner())
	ctx := context.Background()
	status, err := c.Status(ctx)
	if err != nil || status.PID != 42 || status.Messages["active"] != 3 {
		t.Errorf("Status = %+v, %v", status, err)
	}
	for _, err := range []error{
		c.Flush(ctx, Flush{}), c.Flush(ctx, Flush{Site: "x.test"}), c.Flush(ctx, Flush{ID: "AB"}), c.Pickup(ctx), c.Reload(ctx), c.Stop(ctx),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	n, err := c.Change(ctx, OpHold, Selection{All: true, Queues: []string{"deferred"}}, nil)
	if n != 0 || err != nil {
		t.Errorf("Change = %d, %v", n, err)
	}
	want := []string{"status", "flush  ", "flush  x.test", "flush AB ", "pickup", "reload", "stop", "hold 0 true [deferred]"}
	if !slices.Equal(f.calls, want) {
		t.Errorf("calls %q, want %q", f.calls, want)
	}
	for _, known := range []error{ErrNotFound, ErrNotEligible, ErrDenied} {
		f.err = fmt.Errorf("wrapped: %w", known)
		if err := c.Flush(ctx, Flush{}); !errors.Is(err, known) {
			t.Errorf("%v became %v", known, err)
		}
	}
	f.err = errors.New("main.cf, line 3: bad")
	if err := c.Reload(ctx); err == nil || err.Error() != "main.cf, line 3: bad" {
		t.Errorf("Reload: %v", err)
	}
}

func TestManyIDs(t *testing.T) {
	t.Parallel()
	c := serve(t, &fake{}, owner())
	var ids, done []mail.QueueID
	for i := range 2*maxIDs + 7 {
		ids = append(ids, mail.QueueID(fmt.Sprintf("%012X", i)))
	}
	n, err := c.Change(context.Background(), OpDelete, Selection{IDs: ids}, func(id mail.QueueID) { done = append(done, id) })
	if err != nil || n != len(ids) || !slices.Equal(done, ids) {
		t.Errorf("%d of %d, %d reported, %v", n, len(ids), len(done), err)
	}
}

func TestListLongMessage(t *testing.T) {
	t.Parallel()
	big := &Entry{Queue: "deferred", ID: "BIG", Arrived: time.Unix(1000, 0).UTC(), Size: 99, Sender: "a@b.test"}
	for i := range 3*chunkRecipients + 1 {
		big.Recipients = append(big.Recipients, Recipient{Address: mail.Address(fmt.Sprintf("r%d@x.test", i)), Reason: "r"})
	}
	small := &Entry{Queue: "hold", ID: "SMALL", Expired: true}
	c := serve(t, &fake{entries: []*Entry{big, small}}, owner())
	var got []*Entry
	if err := c.List(context.Background(), func(e *Entry) error { got = append(got, e); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || len(got[0].Recipients) != len(big.Recipients) || got[0].Recipients[6000] != big.Recipients[6000] ||
		got[1].ID != "SMALL" || !got[1].Expired || !got[0].Arrived.Equal(big.Arrived) {
		t.Errorf("got %d entries", len(got))
	}
	broken := errors.New("enough")
	if err := c.List(context.Background(), func(*Entry) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("yield's error became %v", err)
	}
}

func TestCat(t *testing.T) {
	t.Parallel()
	text := bytes.Repeat([]byte("line\r\n"), 100_000)
	m := &Message{Queue: "active", Envelope: &mail.Envelope{ID: "AB", Sender: "s@x.test"}, Content: content(text)}
	for i := range chunkRecipients + 5 {
		m.Envelope.Recipients = append(m.Envelope.Recipients, mail.Recipient{Address: mail.Address(fmt.Sprint(i))})
		m.Done = append(m.Done, i%2 == 0)
	}
	c := serve(t, &fake{message: m}, owner())
	got, err := c.Cat(context.Background(), "AB")
	if err != nil {
		t.Fatal(err)
	}
	if got.Queue != "active" || len(got.Envelope.Recipients) != len(m.Envelope.Recipients) || !slices.Equal(got.Done, m.Done) ||
		!bytes.Equal(got.Content.Bytes(), text) || got.Content.Size() != int64(len(text)) {
		t.Errorf("message differs: %d recipients, %d bytes", len(got.Envelope.Recipients), got.Content.Size())
	}
	if _, err := c.Cat(context.Background(), "NONE"); !errors.Is(err, ErrNotFound) {
		t.Errorf("missing message: %v", err)
	}
}

// lines is a log that keeps its lines.
type lines struct {
	mu   sync.Mutex
	list []string
}

// Write implements event.Sink.
func (l *lines) Write(_ time.Time, tag string, pid int, e event.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, fmt.Sprintf("%s[%d]: %s", tag, pid, e.AppendText(nil)))
}

func TestLog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ln, err := Listen(dir, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	log, ended := &lines{}, make(chan error, 1)
	s := &Server{Handler: &fake{}, Log: event.NewLogger(log, "postfix/postroad", 1)} // nobody owns it
	go func() { ended <- s.Serve(ctx, ln) }()
	c := NewClient(dir)
	if err := c.Log(ctx, Line{Tag: "postfix/postdrop", PID: 7, Text: "warning: two\nlines"}); err != nil {
		t.Error(err)
	}
	for _, tag := range []string{"", strings.Repeat("x", maxTag+1)} {
		if err := c.Log(ctx, Line{Tag: tag, Text: "x"}); err == nil {
			t.Errorf("a tag of %d bytes was taken", len(tag))
		}
	}
	if err := c.Ping(ctx); err != nil {
		t.Errorf("Ping: %v", err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if want := []string{"postfix/postdrop[7]: warning: two?lines"}; !slices.Equal(log.list, want) {
		t.Errorf("%q, want %q", log.list, want)
	}
	// The socket stays, so that the answer is a refusal.
	if err := c.Ping(context.Background()); !errors.Is(err, ErrUnavailable) || !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("Ping of a stopped server: %v", err)
	}
}

func TestPolicy(t *testing.T) {
	t.Parallel()
	yes := func(int) bool { return true }
	all := []Op{OpStatus, OpList, OpFlush, OpPickup, OpDelete, OpHold, OpRelease, OpRequeue, OpExpire, OpExpireRelease, OpCat, OpReload, OpStop, OpLog, OpLimits, OpLimitsReset}
	tests := []struct {
		name string
		p    Policy
		uid  int
		want []Op
	}{
		{"root", Policy{Owner: 100}, 0, all},
		{"owner", Policy{Owner: 100}, 100, all},
		{"user", Policy{Owner: 100}, 7, []Op{OpStatus, OpPickup, OpLog}},
		{"viewer", Policy{Owner: 100, View: yes}, 7, []Op{OpStatus, OpList, OpPickup, OpLog}},
		{"mover", Policy{Owner: 100, Move: yes}, 7, []Op{OpStatus, OpFlush, OpPickup, OpLog}},
	}
	for _, tt := range tests {
		var got []Op
		for _, op := range all {
			if tt.p.allows(Peer{UID: tt.uid}, op) {
				got = append(got, op)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestNoServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := NewClient(dir).Pickup(context.Background()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("without a socket: %v", err)
	}
	ln, err := Listen(dir, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	// A server that ends resets whoever it has not accepted.
	conn, err := NewClient(dir).dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	if _, err := NewClient(dir).exchange(conn, Request{Op: OpPickup}, nil); !errors.Is(err, ErrUnavailable) || !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("with a server that ends: %v", err)
	}
	conn.Close()
	if err := NewClient(dir).Pickup(context.Background()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("with a dead socket: %v", err)
	}
	if ln, err = Listen(dir, 0o660); err != nil {
		t.Fatalf("a dead socket is not replaced: %v", err)
	}
	defer ln.Close()
	if st, err := os.Stat(filepath.Join(dir, "public", "postroad")); err != nil || st.Mode().Perm() != 0o660 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
}

func TestGarbage(t *testing.T) {
	t.Parallel()
	f := &fake{}
	c := serve(t, f, owner())
	for _, bytes := range []string{"GET / HTTP/1.0\r\n\r\n", "\xff\xff\xff\xff", "\x00\x00\x00\x02{]", "\x00\x00\x00\x0f{\"Op\":\"nosuch\"}", ""} {
		conn, err := net.Dial("unix", c.Path)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, bytes)
		conn.(*net.UnixConn).CloseWrite()
		reply, _ := io.ReadAll(conn)
		conn.Close()
		if strings.Contains(bytes, "nosuch") != strings.Contains(string(reply), "unknown request") {
			t.Errorf("%q: reply %q", bytes, reply)
		}
	}
	if len(f.calls) > 0 {
		t.Errorf("the handler was called: %v", f.calls)
	}
}

func FuzzReadFrame(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x02{}"))
	f.Add([]byte("\x00\x00\x00\x11{\"Op\":\"status\"}"))
	f.Add([]byte("\xff\xff\xff\xff{}"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes.NewReader(data)
		var req Request
		err := readFrame(r, maxRequest, &req)
		if err != nil {
			return
		}
		n := int(binary.BigEndian.Uint32(data))
		if r.Len() != len(data)-4-n {
			t.Fatalf("%d bytes are left of %d with a frame of %d", r.Len(), len(data), n)
		}
		var out bytes.Buffer
		if err := writeFrame(&out, req); err != nil {
			t.Fatal(err)
		}
		var again Request
		if err := readFrame(&out, maxReply, &again); err != nil {
			t.Fatal(err)
		}
	})
}

func TestShowq(t *testing.T) {
	t.Parallel()
	f := &fake{entries: []*Entry{
		{Queue: "deferred", ID: "E6BA653A086", Arrived: time.Unix(1795355156, 0), Size: 268, Sender: "games@example.test",
			Recipients: []Recipient{{Address: "al3@example.test", Original: "al3", Reason: "temporary\x00failure"}}},
		{Queue: "hold", ID: "AB", Arrived: time.Unix(1, 0), Expired: true, Recipients: []Recipient{{Address: "a b@x.test"}}},
	}}
	var out bytes.Buffer
	if err := writeShowq(context.Background(), &out, f); err != nil {
		t.Fatal(err)
	}
	const want = "protocol|mail_queue_list_protocol||" +
		"queue_name|deferred|queue_id|E6BA653A086|time|1795355156|size|268|forced_expire|0|sender|games@example.test|" +
		"original_recipient|al3|recipient|al3@example.test|log_class|defer|reason|temporary?failure||" +
		"queue_name|hold|queue_id|AB|time|1|size|0|forced_expire|1|sender|MAILER-DAEMON|" +
		"original_recipient|\"a b\"@x.test|recipient|\"a b\"@x.test|log_class||reason|||" + "|"
	if got := strings.ReplaceAll(out.String(), "\x00", "|"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	f := &fake{}
	c := serve(t, f, Policy{Owner: os.Getuid()})
	var got []string
	err := c.Limits(context.Background(), LimitSelection{Rule: "r"}, func(l *Limit) error {
		got = append(got, fmt.Sprintf("%s %s %v", l.Rule, l.Key, l.Used))
		return nil
	})
	if want := []string{"r alice [{1h0m0s 3}]", "r bob [{1h0m0s 3}]"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	if n, err := c.ResetLimits(context.Background(), LimitSelection{Rule: "r", Key: "bob"}); n != 7 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if want := []string{"limits r ", "reset r bob"}; !slices.Equal(f.calls, want) {
		t.Errorf("%q, want %q", f.calls, want)
	}
}
