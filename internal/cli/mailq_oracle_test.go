//go:build oracle

package cli

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"postroad/internal/control"
	"postroad/internal/mail"
)

// TestMailqLikePostfix lets Postfix's postqueue and ours print the same queue.
func TestMailqLikePostfix(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Fatal("this test needs root")
	}
	for _, long := range []string{"no", "yes"} {
		for _, empty := range []bool{false, true} {
			s := newStage(t)
			s.write("main.cf", "enable_long_queue_ids = "+long+"\nsmtputf8_enable = yes\n")
			if err := os.Chmod(s.dir, 0o755); err != nil {
				t.Fatal(err)
			}
			s.q.entries = append(s.q.entries, &control.Entry{Queue: "incoming", ID: "4BQc0r1YtSz3kz", Arrived: s.q.entries[0].Arrived,
				Size: 123456789, Sender: "ü@x.test", Recipients: []control.Recipient{{Address: mail.Address(strings.Repeat("l", 60) + "@x.test"),
					Reason: strings.Repeat("reason ", 20)}, {Address: "b@x.test", Reason: strings.Repeat("x", 76)}}})
			if empty {
				s.q.entries = nil
			}
			serveOldShowq(t, filepath.Join(s.dir, "q", "public", "showq"), s.q)
			s.mode = "down"
			cmd := exec.Command("/usr/sbin/postqueue", "-c", s.dir, "-p")
			want, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v", err)
			}
			var got, stderr bytes.Buffer
			if code := Run(s.env("postqueue -p", "", &got, &stderr)); code != 0 {
				t.Fatalf("exit code %d: %s", code, stderr.String())
			}
			if empty == strings.Contains(string(want), "4BQc0r1YtSz3kz") {
				t.Errorf("Postfix did not read the queue: %s", want)
			}
			if got.String() != string(want) {
				t.Errorf("long ids %s, ours:\n%s\nPostfix:\n%s", long, got.String(), want)
			}
		}
	}
}

// serveOldShowq speaks the protocol of showq(8) as Postfix 3.7 has it, which
// knows neither original recipients nor bounce reasons.
func serveOldShowq(t *testing.T, path string, q *fakeQueue) {
	t.Helper()
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	var b bytes.Buffer
	put := func(name string, value any) { fmt.Fprintf(&b, "%s\x00%v\x00", name, value) }
	put("protocol", "mail_queue_list_protocol")
	b.WriteByte(0)
	for _, e := range q.entries {
		expired := 0
		if e.Expired {
			expired = 1
		}
		put("queue_name", e.Queue)
		put("queue_id", e.ID)
		put("time", e.Arrived.Unix())
		put("size", e.Size)
		put("forced_expire", expired)
		put("sender", showqName(e.Sender))
		for _, r := range e.Recipients {
			put("recipient", showqName(r.Address))
			put("reason", r.Reason)
		}
		b.WriteByte(0)
	}
	b.WriteByte(0)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conn.Write(b.Bytes())
			conn.Close()
		}
	}()
}

func showqName(a mail.Address) string {
	if a == "" {
		return "MAILER-DAEMON"
	}
	return a.External()
}
