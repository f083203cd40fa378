//go:build oracle

package cli

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"postroad/internal/maildrop"
)

// TestSendmailLikePostfix submits the same messages with Postfix's sendmail and
// with ours and compares what lies in the maildrop.
func TestSendmailLikePostfix(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Fatal("this test needs root")
	}
	const long = "0123456789012345678901234567890123456789"
	cases := []submission{
		{[]string{"a@x.test"}, "Subject: x\n\nbody\n"},
		{[]string{"r 1@x.test", "al3"}, "x\n"},
		{[]string{"a@x.test,b@x.test , c@x.test"}, ""},
		{[]string{"Some Body <a@x.test>", "\"A, B\" <b@x.test>"}, ""},
		{[]string{"(comment (nested) \\) here) a@x.test", "b(c)@x.test"}, ""},
		{[]string{"\"quoted user\"@x.test", "\"a\\\"b\"@x.test", "\"plain\"@x.test"}, ""},
		{[]string{"group: a@x.test, b@x.test;", "undisclosed-recipients:;"}, ""},
		{[]string{"<@hop.test:a@x.test>", "host!user", "user%x.test@y.test", "a@[192.0.2.1]"}, ""},
		{[]string{"a.b@x.test", "a . b @ x . test", "a..b@x.test", ".a@x.test", "a@x.test."}, ""},
		{[]string{"ü@x.test", "a\\b@x.test", "a+b@x.test", "a=b/c@x.test"}, ""},
		{[]string{"", "a@x.test"}, ""},
		{[]string{"<>", "a@x.test"}, ""},
		{[]string{"a@b@c.test"}, ""},
		{[]string{"<a@x.test> trailing"}, ""},
		{[]string{"one two <a@x.test>, three"}, ""},
		{[]string{"a;b@x.test"}, ""},
		{[]string{"|/bin/cat", "/tmp/file", "\"|cat x\""}, ""},
		{[]string{"-f", "<s@x.test>", "a@x.test"}, ""},
		{[]string{"-f", "", "a@x.test"}, ""},
		{[]string{"-f", "<>", "a@x.test"}, ""},
		{[]string{"-f", "one two", "a@x.test"}, ""},
		{[]string{"-fs@x.test", "-F", "Full", "-oi", "-ti"}, "To: a@x.test\nCc: \"B, C\" <b@x.test>\nBcc: c@x.test\n\n.\nbody\n"},
		{[]string{"-t", "extra@x.test"}, "Subject: none\nto: a@x.test,\n\tb@x.test\nTO: c@x.test\n\n"},
		{[]string{"-t"}, "Resent-To: r@x.test\nTo: a@x.test\nResent-Bcc: s@x.test\n\n"},
		// With -t Postfix's sendmail ends such a header with an empty line; we
		// leave that to cleanup, which does it for every message.
		{[]string{"-t"}, "To: a@x.test\n\nnot a header\nCc: b@x.test\n\n"},
		{[]string{"-t"}, "From x@y.test now\nTo: a@x.test\n\nbody"},
		{[]string{"-t"}, "To: group: a@x.test, B <b@x.test>;, c@x.test\n\n"},
		{[]string{"-N", "success,failure", "-R", "full", "-V", "id 1", "-B", "8BITMIME", "a@x.test"}, "x\r\ny\r\n"},
		{[]string{"-N", "never", "-R", "hdrs", "a@x.test"}, ""},
		{[]string{"-XV", "-f", "l@x.test", "a@x.test"}, ""},
		{[]string{"-XV=+", "-f", "l@x.test", "a@x.test"}, ""},
		{[]string{"-v", "a@x.test"}, "Subject: report\n\n"},
		{[]string{"-bv", "a@x.test", "b@x.test"}, "ignored\n"},
		{[]string{"a@x.test"}, ">>From a\nFrom b\nSubject: x\n\nFrom c\n.\nlost\n"},
		{[]string{"-i", "a@x.test"}, "\r\n\r\n.\r\nx\ry\r\r\n\rlast\r"},
		{[]string{"a@x.test"}, strings.Repeat(long, 300) + "\nnext"},
	}
	real, ours := newStage(t), newStage(t)
	for _, s := range []*stage{real, ours} {
		// Postfix's postdrop is set-gid and wants to write there.
		if err := os.Chmod(filepath.Join(s.dir, "q", "maildrop"), 0o1777); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(s.dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range cases {
		cmd := exec.Command("/usr/sbin/sendmail", append([]string{"-C", real.dir}, c.args...)...)
		cmd.Stdin = strings.NewReader(c.stdin)
		cmd.Env = []string{"NAME=Some Body", "PATH=/usr/sbin:/usr/bin:/bin"}
		realOut, _ := cmd.Output()
		var stdout, stderr bytes.Buffer
		e := ours.env("sendmail", c.stdin, &stdout, &stderr)
		e.Args = c.args
		code := Run(e)
		if code != cmd.ProcessState.ExitCode() || stdout.String() != string(realOut) {
			t.Errorf("%q: exit %d, printed %q; Postfix: %d, %q", c.args, code, stdout.String(), cmd.ProcessState.ExitCode(), realOut)
		}
		want, got := takeDrop(t, real.dir), takeDrop(t, ours.dir)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%q < %.80q:\n ours    %+v\n Postfix %+v", c.args, c.stdin, got, want)
		}
	}
}

// TestDropByPostfixsPostdrop hands a message to Postfix's set-gid helper, as an
// ordinary user's sendmail does.
func TestDropByPostfixsPostdrop(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	if err := os.Chmod(filepath.Join(s.dir, "q", "maildrop"), 0o1777); err != nil {
		t.Fatal(err)
	}
	s.write("main.cf", "message_size_limit = 1000\n")
	var stdout, stderr bytes.Buffer
	e := s.env("sendmail", "", &stdout, &stderr)
	c, err := e.load("")
	if err != nil {
		t.Fatal(err)
	}
	send := func(body string) error {
		env := &maildrop.Envelope{Queued: e.now(), Sender: "a@b.test", FullName: "A", Recipients: []maildrop.Recipient{{Address: "c@d.test"}}}
		d, err := e.startPostdrop(c)
		if err != nil {
			return err
		}
		defer d.Abort()
		if err := d.Begin(env); err != nil {
			return err
		}
		if _, err := d.Write([]byte(body)); err != nil {
			return err
		}
		return d.Commit()
	}
	if err := send("Subject: x\n\nbody\n"); err != nil {
		t.Errorf("%v, %s", err, stderr.String())
	}
	got := takeDrop(t, s.dir)
	if len(got) != 1 || got[0].Envelope.Sender != "a@b.test" || got[0].Content != "Subject: x\r\n\r\nbody\r\n" {
		t.Errorf("in the maildrop: %+v", got)
	}
	if err := send(strings.Repeat("line\n", 2000)); err == nil {
		t.Error("a message over the limit is accepted")
	}
	if got := takeDrop(t, s.dir); len(got) != 0 {
		t.Errorf("in the maildrop: %+v", got)
	}
}

// submission is a command line and a message.
type submission struct {
	args  []string
	stdin string
}

// dropped is a message in the maildrop.
type dropped struct {
	Envelope  maildrop.Envelope
	Extracted []maildrop.Recipient
	Content   string
}

// takeDrop reads and removes the messages in the maildrop.
func takeDrop(t *testing.T, dir string) []dropped {
	t.Helper()
	queue := filepath.Join(dir, "q")
	names, err := maildrop.List(queue, 0)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	var all []dropped
	for _, name := range names {
		d, err := maildrop.Open(queue, name)
		if err != nil {
			t.Fatal(err)
		}
		var m dropped
		env, err := d.Envelope()
		if err != nil {
			t.Fatal(err)
		}
		var content bytes.Buffer
		if err := d.Content(&content); err != nil {
			t.Fatal(err)
		}
		if m.Extracted, err = d.Extracted(env); err != nil {
			t.Fatal(err)
		}
		m.Envelope, m.Content = *env, content.String()
		m.Envelope.Queued = time.Time{}
		all = append(all, m)
		d.Remove()
		d.Close()
	}
	return all
}
