package cleanup

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/maildrop"
)

// shelf is a queue that keeps every message.
type shelf struct {
	mu   sync.Mutex
	n    int
	kept []kept
	fail error
}

type kept struct {
	env  mail.Envelope
	text string
}

type shelfWriter struct {
	bytes.Buffer
	shelf *shelf
	id    mail.QueueID
}

func (s *shelf) Begin() (Writer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	return &shelfWriter{shelf: s, id: mail.QueueID(fmt.Sprintf("Q%d", s.n))}, nil
}

func (w *shelfWriter) ID() mail.QueueID { return w.id }
func (w *shelfWriter) Size() int64      { return int64(w.Len()) }
func (w *shelfWriter) Abort()           {}

func (w *shelfWriter) Commit(_ context.Context, env *mail.Envelope) error {
	w.shelf.mu.Lock()
	defer w.shelf.mu.Unlock()
	if w.shelf.fail != nil {
		return w.shelf.fail
	}
	w.shelf.kept = append(w.shelf.kept, kept{*env, w.String()})
	return nil
}

// office is a pickup with its surroundings.
type office struct {
	*Pickup
	dir  string
	shop *shelf
	log  *lines
}

func newOffice(t *testing.T, config string) *office {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, maildrop.DirName), 0o700); err != nil {
		t.Fatal(err)
	}
	o := &office{dir: dir, shop: &shelf{}, log: &lines{}}
	s := serviceFor(t, baseConfig+config, o.shop, o.log)
	o.Pickup = NewPickup(dir, event.NewLogger(o.log, "postfix/pickup", 1), func() *Service { return s })
	return o
}

// drop leaves a message in the maildrop.
func (o *office) drop(t *testing.T, e maildrop.Envelope, text string, late ...string) string {
	t.Helper()
	w, err := maildrop.Create(o.dir, &e)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	for _, r := range late {
		if err := w.AddRecipient(maildrop.Recipient{Address: mail.Address(r)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	return w.Name()
}

// left lists what is in a directory of the queue.
func (o *office) left(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(o.dir, dir))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

var joe = maildrop.Envelope{Sender: "joe", FullName: "Joe", Recipients: []maildrop.Recipient{{Address: "ann@v.test"}}}

func TestPickup(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "content_filter = smtp:[192.0.2.1]:26\n")
	o.drop(t, joe, "Subject: x\nTo: ann@v.test\n\nhello\n")
	if !o.scan(context.Background()) {
		t.Error("it is to be tried again")
	}
	if left := o.left(t, maildrop.DirName); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if len(o.shop.kept) != 1 {
		t.Fatalf("%d messages", len(o.shop.kept))
	}
	got := o.shop.kept[0]
	if got.env.Sender != "joe@example.com" || got.env.Client.UID != os.Getuid() || got.env.Origin != mail.OriginLocal ||
		got.env.FilterTransport != "smtp" || got.env.FilterNexthop != "[192.0.2.1]:26" {
		t.Errorf("envelope %+v", got.env)
	}
	want := fmt.Sprintf("Received: by mx.example.com (Postroad, from userid %d)\r\n\tid Q1; ", os.Getuid())
	want2 := "Subject: x\r\nTo: ann@v.test\r\nMessage-Id: <"
	if !strings.HasPrefix(strings.Replace(got.text, "(Postfix,", "(Postroad,", 1), want) || !strings.Contains(got.text, want2) ||
		!strings.HasSuffix(got.text, "\r\nFrom: Joe <joe@example.com>\r\n\r\nhello\r\n") {
		t.Errorf("text %q", got.text)
	}
	if line := fmt.Sprintf("Q1: uid=%d from=<joe>", os.Getuid()); o.log.list[0] != line {
		t.Errorf("log %q, want %q", o.log.list[0], line)
	}
}

func TestPickupExtractedRecipients(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "")
	e := joe
	e.Recipients = nil
	o.drop(t, e, "To: ann, bob@v.test\nBcc: eve@v.test\n\nx\n", "ann", "bob@v.test", "eve@v.test")
	o.scan(context.Background())
	if len(o.shop.kept) != 1 || len(o.shop.kept[0].env.Recipients) != 3 || o.shop.kept[0].env.Recipients[0].Address != "ann@example.com" {
		t.Fatalf("%+v", o.shop.kept)
	}
	if strings.Contains(o.shop.kept[0].text, "eve") {
		t.Error("the Bcc header is still there")
	}
}

// TestPickupKeeps shows that a file stays until its message is safe.
func TestPickupKeeps(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(o *office){
		"queue":  func(o *office) { o.shop.fail = errors.New("disk") },
		"table":  func(o *office) { o.service().set.VirtualRecursion = 0 },
		"report": func(o *office) { o.service().set.Hopcount = 1; o.Refuse = refuseWith(errors.New("later"), nil) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t, "virtual_alias_maps = inline:{ann@v.test=bob@v.test}\n")
			spoil(o)
			file := o.drop(t, joe, "Subject: x\n\nx\n")
			if o.scan(context.Background()) {
				t.Error("nobody will try again")
			}
			if left := o.left(t, maildrop.DirName); len(left) != 1 || left[0] != file {
				t.Errorf("left: %v", left)
			}
			if len(o.shop.kept) != 0 {
				t.Error("a message was queued")
			}
		})
	}
}

// refuseWith answers a refusal and notes it.
func refuseWith(err error, got *Refusal) func(context.Context, *Refusal) error {
	return func(_ context.Context, r *Refusal) error {
		if got != nil {
			*got = *r
			text, readErr := readAll(r.Content)
			got.Content = text
			err = errors.Join(err, readErr)
		}
		return err
	}
}

// textContent is a content in memory.
type textContent string

func (c textContent) Size() int64   { return int64(len(c)) }
func (c textContent) Bytes() []byte { return []byte(c) }
func (c textContent) Open() (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(string(c))), nil
}

func readAll(c mail.Content) (textContent, error) {
	r, err := c.Open()
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(r)
	return textContent(text), errors.Join(err, r.Close())
}

func TestPickupRefuses(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "header_checks = regexp:{{/^subject: bad/ REJECT no such thing}}\n")
	var got Refusal
	o.Refuse = refuseWith(nil, &got)
	o.drop(t, joe, "Subject: bad\n\nhello\nagain\n")
	if !o.scan(context.Background()) {
		t.Error("it is to be tried again")
	}
	if len(o.left(t, maildrop.DirName)) != 0 || len(o.shop.kept) != 0 {
		t.Error("the file or a message is there")
	}
	if got.Status.String() != "550 5.7.1 no such thing" || got.Envelope.Sender != "joe@example.com" || len(got.Envelope.Recipients) != 1 {
		t.Errorf("%+v, %+v", got.Status, got.Envelope)
	}
	text := string(got.Content.(textContent))
	if !strings.HasPrefix(text, "Received: by ") || !strings.Contains(text, "\r\nSubject: bad\r\nMessage-Id: <") ||
		!strings.HasSuffix(text, "\r\nFrom: Joe <joe@example.com>\r\n\r\nhello\r\nagain\r\n") {
		t.Errorf("content %q", text)
	}
	if last := o.log.list[len(o.log.list)-2]; !strings.Contains(last, "Q1: to=<ann@v.test>, relay=none") ||
		!strings.Contains(last, "dsn=5.7.1, status=bounced (no such thing)") {
		t.Errorf("log %q", last)
	}
}

func TestPickupSetsAside(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "")
	drop := filepath.Join(o.dir, maildrop.DirName)
	for name, content := range map[string]string{
		"GARBAGE":  "this is no record",
		"NOSENDER": "T\x011R\x01rM\x00X\x00E\x00",
		"TRUNCATE": "T\x011S\x01sR\x01rM\x00N\x05hello",
	} {
		if err := os.WriteFile(filepath.Join(drop, name), []byte(content), 0o744); err != nil {
			t.Fatal(err)
		}
	}
	e := joe
	e.Recipients = nil
	nobody := o.drop(t, e, "Subject: to nobody\n\n")
	if err := os.Symlink("/etc/passwd", filepath.Join(drop, "SYMLINK")); err != nil {
		t.Fatal(err)
	}
	o.drop(t, joe, "Subject: good\n\n")
	if !o.scan(context.Background()) {
		t.Error("it is to be tried again")
	}
	if len(o.shop.kept) != 1 {
		t.Errorf("%d messages", len(o.shop.kept))
	}
	if left := o.left(t, maildrop.DirName); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	aside := strings.Join(o.left(t, "corrupt"), " ")
	for _, name := range []string{"GARBAGE", "NOSENDER", "TRUNCATE", "SYMLINK", nobody} {
		if !strings.Contains(aside, name) {
			t.Errorf("%s is not in %s", name, aside)
		}
	}
}

// TestPickupTogether takes many at once, as after a time without a server.
func TestPickupTogether(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "")
	const count = 100
	for i := range count {
		o.drop(t, joe, fmt.Sprintf("Subject: %d\n\n", i))
	}
	if !o.scan(context.Background()) || len(o.left(t, maildrop.DirName)) != 0 {
		t.Error("something is left")
	}
	seen := map[string]bool{}
	for _, k := range o.shop.kept {
		_, rest, _ := strings.Cut(k.text, "Subject: ")
		subject, _, _ := strings.Cut(rest, "\r\n")
		seen[subject] = true
	}
	if len(o.shop.kept) != count || len(seen) != count {
		t.Errorf("%d messages, %d different", len(o.shop.kept), len(seen))
	}
}

// TestPickupRun wakes up when poked and ends with its context.
func TestPickupRun(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	got := make(chan struct{}, 1)
	o.Refuse = func(context.Context, *Refusal) error { got <- struct{}{}; return nil }
	o.service().set.Hopcount = 1
	// goroutine: ends with ctx.
	go func() { o.Run(ctx); close(done) }()
	o.drop(t, joe, "Subject: x\n\n")
	o.Poke()
	<-got
	cancel()
	<-done
}

func TestSkipHeader(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"A: b\r\n c\r\nD: e\r\n\r\nbody\r\n": "\r\nbody\r\n",
		"A: b\r\nbody\r\n":                   "\r\nbody\r\n",
		"body\r\n":                           "\r\nbody\r\n",
		" body\r\n":                          "\r\n body\r\n",
		"A: b\r\n":                           "",
		"":                                   "",
		"A: " + strings.Repeat("x", 100_000) + "\r\n\r\nbody\r\n": "\r\nbody\r\n",
	} {
		r := bufio.NewReaderSize(strings.NewReader(in), 32<<10)
		got := skipHeader(r)
		rest, err := io.ReadAll(r)
		if err != nil || got+string(rest) != want {
			t.Errorf("%.40q: %q, %v", in, got+string(rest), err)
		}
	}
}

// TestPickupReturned takes a message that postsuper put back: the old one goes first,
// and what it was stays.
func TestPickupReturned(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "virtual_alias_maps = inline:{b@v.test=c@v.test}\n")
	var removed []mail.QueueID
	fail := errors.New("not now")
	o.Returned = func(_ context.Context, id mail.QueueID) error {
		removed = append(removed, id)
		return fail
	}
	env := &mail.Envelope{
		ID: "E6BA653A086A", Sender: "s@x.test", Arrived: time.Unix(1_795_000_000, 0), EnvID: "id",
		Recipients: []mail.Recipient{{Address: "b@v.test", Original: "a@v.test", ORCPT: "rfc822;o@v.test", Notify: mail.NotifyDelay}},
		Client:     mail.ClientFacts{Name: "client.test", Addr: "192.0.2.9", RewriteContext: "remote", UID: -1},
	}
	if err := maildrop.Requeue(o.dir, env, textContent("Subject: x\r\nTo: local\r\n\r\nhi\r\n"), os.Geteuid()); err != nil {
		t.Fatal(err)
	}
	if o.scan(context.Background()) || len(o.shop.kept) != 0 {
		t.Error("taken although the old one could not be removed")
	}
	fail = nil
	if !o.scan(context.Background()) || len(o.shop.kept) != 1 || len(removed) != 2 || removed[1] != env.ID {
		t.Fatalf("%d messages, removed %q", len(o.shop.kept), removed)
	}
	got := o.shop.kept[0]
	if !got.env.Arrived.Equal(env.Arrived) || got.env.Client != env.Client || got.env.EnvID != "id" {
		t.Errorf("envelope %+v", got.env)
	}
	want := mail.Recipient{Address: "c@v.test", Original: "a@v.test", ORCPT: "rfc822;o@v.test", Notify: mail.NotifyDelay}
	if len(got.env.Recipients) != 1 || got.env.Recipients[0] != want {
		t.Errorf("recipients %+v", got.env.Recipients)
	}
	if !strings.Contains(got.text, "\r\nTo: local\r\n") {
		t.Errorf("the header of a stranger was completed: %q", got.text)
	}
	line := fmt.Sprintf("uid=%d from=<s@x.test> orig_id=E6BA653A086A", os.Getuid())
	if !slices.ContainsFunc(o.log.list, func(s string) bool { return strings.HasSuffix(s, line) }) {
		t.Errorf("log %q", o.log.list)
	}
	if left := o.left(t, maildrop.DirName); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}
