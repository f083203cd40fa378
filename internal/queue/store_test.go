package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"postroad/internal/mail"
)

// openMem opens a store on a file system in memory.
func openMem(t *testing.T, fs vfs.FS, change func(*Options)) *Store {
	t.Helper()
	opt := Options{Dir: "spool", FS: fs, Reserve: 4096, MemTable: 1 << 20}
	if change != nil {
		change(&opt)
	}
	s, err := Open(opt)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// accept commits a message and returns its envelope and content.
func accept(t *testing.T, s *Store, text string, rcpts ...mail.Address) (*mail.Envelope, mail.Content) {
	t.Helper()
	var got mail.Content
	s.SetArrived(func(_ *mail.Envelope, c mail.Content) { got = c })
	env := &mail.Envelope{Sender: "a@example.org", Arrived: time.Now().Truncate(time.Microsecond)}
	for _, r := range rcpts {
		env.Recipients = append(env.Recipients, mail.Recipient{Address: r, Original: r})
	}
	w, err := s.Begin()
	if err != nil {
		t.Fatalf("begin: %v", err)
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatalf("write: %v", err)
	}
	if err := w.Commit(context.Background(), env); err != nil {
		t.Fatalf("commit: %v", err)
	}
	return env, got
}

func TestAcceptAndRead(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("0123456789abcdef0123456789abcdef0123456789abcdef0123456789ab\r\n", 3000)
	for name, text := range map[string]string{
		"empty": "", "small": "Subject: x\r\n\r\nhello\r\n", "large": large,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openMem(t, vfs.NewMem(), nil)
			env, content := accept(t, s, text, "b@example.net")
			read, stored, err := s.Message(env.ID)
			if err != nil {
				t.Fatal(err)
			}
			for what, c := range map[string]mail.Content{"arrived": content, "stored": stored} {
				b, err := ReadContent(c)
				if err != nil || string(b) != text {
					t.Errorf("%s content: %d bytes, %v; want %d", what, len(b), err, len(text))
				}
			}
			if read.Size != int64(len(text)) || read.Recipients[0].Address != "b@example.net" {
				t.Errorf("envelope %+v", read)
			}
		})
	}
}

func TestEnvelopeRoundTrip(t *testing.T) {
	t.Parallel()
	env := &mail.Envelope{
		ID: "ABCDEF012345", Sender: "s@x", Arrived: time.UnixMicro(1700000000123456), Size: 99, Origin: mail.OriginLocal,
		EnvID: "e+2Bv", Ret: mail.RetHeaders, SMTPUTF8: true, EightBit: true, Hold: true, Probe: true, Trace: true,
		RequireTLS: true, TLSOptional: true, Verify: true,
		FilterTransport: "smtp-amavis", FilterNexthop: "[127.0.0.1]:10024", Redirect: "r@x", MessageID: "<m@x>", Hops: 7, VERP: "+=", FullName: "Full Name",
		Client: mail.ClientFacts{Name: "n", Addr: "192.0.2.1", Port: "25", Helo: "h", Proto: "ESMTP", ReverseName: "rn",
			SASLMethod: "PLAIN", SASLUser: "u", SASLSender: "ss", RewriteContext: "remote", UID: -1, Ident: "i"},
		Recipients: []mail.Recipient{
			{Address: "a@x", Original: "a@x"},
			{Address: "b@x", Original: "c@x", ORCPT: "rfc822;c@x", Notify: mail.NotifyNever},
		},
	}
	got, inline, err := decodeEnvelope(env.ID, encodeEnvelope(nil, env, true))
	if err != nil || !inline || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", env) {
		t.Errorf("got %+v, %v, %v\nwant %+v", got, inline, err, env)
	}
}

// TestDestinations: hosts are compared without regard to case, names of transports
// are not, and no name reaches over the end of its part of a key.
func TestDestinations(t *testing.T) {
	t.Parallel()
	if got, want := NewDest("Slow\xff", "[MX.Test\x00]"), (Dest{"Slow?", "[mx.test?]"}); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestMemTable: a machine with more memory gets no larger table.
func TestMemTable(t *testing.T) {
	t.Parallel()
	for given, want := range map[uint64]uint64{0: memTableSize, 1 << 20: 1 << 20, 1 << 40: memTableSize} {
		if got := (Options{MemTable: given}).withDefaults().MemTable; got != want {
			t.Errorf("%d: %d, want %d", given, got, want)
		}
	}
}

func TestLifeOfADeferredMessage(t *testing.T) {
	t.Parallel()
	s := openMem(t, vfs.NewMem(), nil)
	env, content := accept(t, s, "x\r\n", "a@x", "b@x", "c@y")
	dest := NewDest("smtp", "X")
	due := time.UnixMicro(2_000_000)
	job := &Job{ID: env.ID, No: 1, Dest: dest, Due: due, LastTry: time.UnixMicro(1_000_000), Attempts: 1,
		Waiting: []Waiting{{Enhanced: "4.4.1", Text: "refused", Recipients: []int32{0, 1}}}}
	c := s.Change()
	c.Put(job)
	c.Done(env.ID, []int32{2})
	c.Routed(env)
	c.Waited(env)
	if err := c.Commit(); err != nil {
		t.Fatal(err)
	}
	sum, err := s.Summary(env.ID)
	if err != nil || sum.Incoming || sum.Held || !sum.Done[2] || len(sum.Jobs) != 1 || fmt.Sprint(sum.Jobs[0].Recipients()) != "[0 1]" {
		t.Fatalf("summary %+v %v", sum, err)
	}
	var dests []Dest
	if err := s.Destinations(func(d Dest, when time.Time) error {
		dests = append(dests, d)
		if !when.Equal(due) {
			t.Errorf("due %v, want %v", when, due)
		}
		return nil
	}); err != nil || len(dests) != 1 || dests[0] != dest {
		t.Fatalf("destinations %v %v", dests, err)
	}
	if err := s.Release(env.ID); err != nil {
		t.Fatal(err)
	}
	c = s.Change()
	if err := c.Remove(env, content); err != nil {
		t.Fatal(err)
	}
	if err := c.Commit(); err != nil {
		t.Fatal(err)
	}
	left := 0
	if err := s.scan([]byte{0}, []byte{0xff}, func(k, _ []byte) error {
		if k[0] != kindMark {
			left++
			t.Errorf("left behind: %q", k)
		}
		return nil
	}); err != nil || left != 0 {
		t.Fatal(left, err)
	}
}

func TestHoldHidesFromIndex(t *testing.T) {
	t.Parallel()
	s := openMem(t, vfs.NewMem(), nil)
	env, _ := accept(t, s, "x\r\n", "a@x")
	c := s.Change()
	c.Put(&Job{ID: env.ID, No: 1, Dest: NewDest("smtp", "x"), Due: time.Now(), Waiting: []Waiting{{Recipients: []int32{0}}}})
	c.Routed(env)
	if err := c.Commit(); err != nil {
		t.Fatal(err)
	}
	jobs, _ := s.Jobs(env.ID)
	c = s.Change()
	c.Hold(env.ID, jobs)
	if err := c.Commit(); err != nil {
		t.Fatal(err)
	}
	count := func() (n int) {
		_ = s.Destinations(func(Dest, time.Time) error { n++; return nil })
		return n
	}
	if held, _ := s.Held(env.ID); !held || count() != 0 {
		t.Fatalf("held %v, %d destinations", held, count())
	}
	if err := s.Release(env.ID); err != nil {
		t.Fatal(err)
	}
	if held, _ := s.Held(env.ID); held || count() != 1 {
		t.Fatalf("after release: held %v, %d destinations", held, count())
	}
}

func TestCount(t *testing.T) {
	s := openMem(t, vfs.NewMem(), nil)
	for range 3 {
		accept(t, s, "text\r\n", "b@example.org")
	}
	held, _ := accept(t, s, "text\r\n", "b@example.org")
	c := s.Change()
	c.Hold(held.ID, nil)
	if err := c.Commit(); err != nil {
		t.Fatal(err)
	}
	got, err := s.Count()
	if want := (Tally{Messages: 4, Held: 1, Fresh: 4}); err != nil || got != want {
		t.Errorf("%+v %v, want %+v", got, err, want)
	}
}

func TestIDsNeverRepeat(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	fs := vfs.NewMem()
	seen := map[mail.QueueID]bool{}
	for range 5 {
		s := openMem(t, fs, func(o *Options) { o.Now = func() time.Time { return now } })
		for range 100 {
			env, _ := accept(t, s, "", "a@x")
			if seen[env.ID] || !ValidID(string(env.ID)) {
				t.Fatalf("id %s again or malformed", env.ID)
			}
			seen[env.ID] = true
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		now = now.Add(-time.Hour) // the clock goes back while we are down
	}
}

func TestLongIDForm(t *testing.T) {
	t.Parallel()
	id := string(longID(time.Date(2026, 11, 22, 13, 0, 0, 123456000, time.UTC).UnixMicro()))
	if len(id) != 12 || id[10] != 'z' || !ValidID(id) {
		t.Errorf("long id %q", id)
	}
}

func TestSecondOpenerIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := Open(Options{Dir: dir, Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if second, err := Open(Options{Dir: dir, Reserve: -1}); err == nil {
		_ = second.Close()
		t.Fatal("two stores on one folder")
	}
}

func TestOrphansAreSwept(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	s := openMem(t, fs, nil)
	env, _ := accept(t, s, strings.Repeat("x", DefaultInlineLimit+1), "a@x")
	w, err := s.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(bytes.Repeat([]byte("y"), DefaultInlineLimit+1)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openMem(t, fs, nil)
	names, err := fs.List("spool/bodies")
	if err != nil || len(names) != 1 || names[0] != string(env.ID) {
		t.Errorf("bodies %v %v", names, err)
	}
	if err := s.Err(); err != nil {
		t.Error(err)
	}
}

func TestNotFound(t *testing.T) {
	t.Parallel()
	s := openMem(t, vfs.NewMem(), nil)
	if _, _, err := s.Message("ABCDEF"); !errors.Is(err, ErrNotFound) {
		t.Errorf("message: %v", err)
	}
	if _, err := s.Job("ABCDEF", 1); !errors.Is(err, ErrNotFound) {
		t.Errorf("job: %v", err)
	}
}

func FuzzDecodeEnvelope(f *testing.F) {
	f.Add(encodeEnvelope(nil, &mail.Envelope{Sender: "a@b", Recipients: []mail.Recipient{{Address: "c@d"}}}, true))
	f.Fuzz(func(t *testing.T, b []byte) {
		env, inline, err := decodeEnvelope("ID", b)
		if err != nil {
			return
		}
		again, _, err := decodeEnvelope("ID", encodeEnvelope(nil, env, inline))
		if err != nil || fmt.Sprintf("%+v", again) != fmt.Sprintf("%+v", env) {
			t.Fatalf("%+v -> %+v, %v", env, again, err)
		}
	})
}

func FuzzDecodeJob(f *testing.F) {
	f.Add(encodeJob(&Job{Dest: NewDest("smtp", "x"), Waiting: []Waiting{{Text: "t", Recipients: []int32{1, 2, 9}}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		j, err := decodeJob("ID", 1, b)
		if err != nil {
			return
		}
		if _, err := decodeJob("ID", 1, encodeJob(j)); err != nil {
			t.Fatal(err)
		}
	})
}
