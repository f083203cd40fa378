package maildrop

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"postroad/internal/mail"
)

// text is content in memory.
type text string

func (c text) Size() int64                  { return int64(len(c)) }
func (c text) Bytes() []byte                { return []byte(c) }
func (c text) Open() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(string(c))), nil }

// queued is a message of the queue with everything that must survive.
func queued() *mail.Envelope {
	return &mail.Envelope{
		ID: "E6BA653A086A", Sender: "s@x.test", Arrived: time.Unix(1_795_000_000, 123_000), EnvID: "id+2B", Ret: mail.RetHeaders,
		SMTPUTF8: true, RequireTLS: true, EightBit: true, VERP: "+=", FullName: "Full Name", Trace: true,
		Recipients: []mail.Recipient{
			{Address: "b@remote.test", Original: "a@v.test", ORCPT: "rfc822;orig@v.test", Notify: mail.NotifyDelay | mail.NotifySuccess},
			{Address: "a b@remote.test", Original: "a b@remote.test", ORCPT: "rfc822;x", Notify: mail.NotifyNever},
		},
		Client: mail.ClientFacts{
			Name: "client.test", Addr: "192.0.2.9", Port: "1234", Helo: "me", Proto: "ESMTPS", ReverseName: "r.test",
			SASLMethod: "PLAIN", SASLUser: "joe", SASLSender: "joe@x.test", RewriteContext: "remote", UID: -1, Ident: "FIRST",
		},
	}
}

func TestRequeue(t *testing.T) {
	t.Parallel()
	dir := spool(t)
	want := queued()
	const content = "Subject: x\r\n\r\nbody\r\n"
	for range 2 { // the second time after a crash behind the first
		if err := Requeue(dir, want, text(content), os.Geteuid()); err != nil {
			t.Fatal(err)
		}
	}
	d, err := Open(dir, string(want.ID))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	env, err := d.Envelope()
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := d.Content(&got); err != nil || got.String() != content {
		t.Errorf("content %q, %v", got.String(), err)
	}
	if _, err := d.Extracted(env); err != nil {
		t.Error(err)
	}
	back := env.Returned
	if back == nil || back.ID != want.ID || back.Client != want.Client || !env.Queued.Equal(want.Arrived) {
		t.Fatalf("returned %+v at %v", back, env.Queued)
	}
	if env.Sender != want.Sender || env.EnvID != want.EnvID || env.Ret != want.Ret || !env.SMTPUTF8 || !env.RequireTLS || env.Encoding != "8bit" ||
		env.VERP != want.VERP || env.FullName != want.FullName || !env.Trace || env.Probe {
		t.Errorf("envelope %+v", env)
	}
	var rcpts []mail.Recipient
	for _, r := range env.Recipients {
		rcpts = append(rcpts, mail.Recipient{Address: r.Address, Original: r.Original, ORCPT: r.ORCPT, Notify: r.Notify})
	}
	if !reflect.DeepEqual(rcpts, want.Recipients) {
		t.Errorf("recipients %+v", rcpts)
	}
	m, err := Peek(dir, string(want.ID))
	if err != nil || !reflect.DeepEqual(m.Envelope.Recipients, want.Recipients) || m.Envelope.Client != want.Client || m.Content.Size() != int64(len(content)) ||
		!m.Envelope.SMTPUTF8 || !m.Envelope.RequireTLS {
		t.Errorf("Peek: %+v, %v", m, err)
	}
}

// TestRequeueLeavesOthers: a submission that has the name by chance is not lost.
func TestRequeueLeavesOthers(t *testing.T) {
	t.Parallel()
	dir := spool(t)
	env := queued()
	path := Path(dir, string(env.ID))
	if err := os.WriteFile(path, []byte("S"), submitted); err != nil {
		t.Fatal(err)
	}
	if err := Requeue(dir, env, text("x\r\n"), os.Geteuid()); !errors.Is(err, os.ErrExist) {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
	env.ID = "../escape"
	if err := Requeue(dir, env, text(""), os.Geteuid()); !errors.Is(err, ErrFormat) {
		t.Errorf("%v", err)
	}
}

// TestOnlyOurOwnReturn: what a submission says about a client, an original recipient
// or another message does not count.
func TestOnlyOurOwnReturn(t *testing.T) {
	t.Parallel()
	dir := spool(t)
	env := queued()
	if err := Requeue(dir, env, text("x\r\n"), os.Geteuid()); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(Path(dir, string(env.ID)), submitted); err != nil {
		t.Fatal(err)
	}
	d, err := Open(dir, string(env.ID))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	got, err := d.Envelope()
	if err != nil {
		t.Fatal(err)
	}
	if got.Returned != nil || got.Recipients[0].Original != "" {
		t.Errorf("believed: %+v", got)
	}
}

func TestEarlyEnd(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]bool{
		"": true, "S\x01s": true, "S\x01sR\x01r": true, "S\x01sR\x01rM\x00N\x05hello": true, "S\x01sR\x05": false, "S\x01sR": false,
	} {
		_, _, _, err := read(NewDecoder(strings.NewReader(raw)))
		if !errors.Is(err, ErrFormat) || errors.Is(err, ErrEarlyEnd) != want {
			t.Errorf("%q: %v", raw, err)
		}
	}
}

// TestRemove: an interrupt removes what is not committed, and nothing else.
func TestRemove(t *testing.T) {
	t.Parallel()
	dir := spool(t)
	w, err := Create(dir, &full)
	if err != nil {
		t.Fatal(err)
	}
	if !w.Remove() || w.Remove() || w.Commit() == nil {
		t.Error("a removed file is still there")
	}
	if w, err = Create(dir, &full); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(); err != nil || w.Remove() {
		t.Errorf("%v, or a committed file was removed", err)
	}
	if names, _ := filepath.Glob(filepath.Join(dir, DirName, "*")); len(names) != 1 {
		t.Errorf("%q", names)
	}
}

func TestLineFeeds(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in   []string
		want string
	}{
		{[]string{"a\r\nb\r\n"}, "a\nb\n"}, {[]string{"a\r", "\nb"}, "a\nb"}, {[]string{"a\r", "b"}, "a\rb"},
		{[]string{"a\r", "", "\r\n"}, "a\r\n"}, {[]string{"\r"}, "\r"}, {[]string{"a\rb\r\r\n"}, "a\rb\r\n"},
	} {
		var out bytes.Buffer
		lf := &LineFeeds{W: &out}
		for _, s := range tt.in {
			if n, err := lf.Write([]byte(s)); n != len(s) || err != nil {
				t.Errorf("%q: %d, %v", tt.in, n, err)
			}
		}
		if err := lf.End(); err != nil || out.String() != tt.want {
			t.Errorf("%q: %q, want %q", tt.in, out.String(), tt.want)
		}
	}
}
