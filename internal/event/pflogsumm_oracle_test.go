//go:build oracle

package event

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"postroad/internal/mail"
)

// TestPflogsumm lets the log tool that most sites use count a day of ours.
func TestPflogsumm(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "maillog")
	l, err := OpenLog(LogOptions{File: path, Hostname: "mx"})
	if err != nil {
		t.Fatal(err)
	}
	day := &day{log: l, now: time.Now().Truncate(24 * time.Hour)}
	for range 20 {
		day.message("sent", 1000)
	}
	for range 7 {
		day.message("deferred", 500)
	}
	for range 3 {
		day.message("bounced", 100)
	}
	day.message("forwarded", 50)
	for range 5 {
		day.write("smtpd", &Decision{ID: mail.NoQueue, Action: "reject", State: "RCPT", Client: "bad[192.0.2.9]",
			Status: mail.Status{Code: 550, Enhanced: "5.1.1",
				Text: "<nobody@example.test>: Recipient address rejected: User unknown in local recipient table"},
			From: "a@b.test", To: "nobody@example.test", HasFrom: true, HasTo: true, Proto: "ESMTP", Helo: "bad"})
	}
	day.write("smtpd", Notice{"warning", "hostname bad.test does not resolve to address 192.0.2.9"})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("pflogsumm", path).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for word, want := range map[string]int{
		"received": 31, "delivered": 20, "forwarded": 1, "deferred": 7, "bounced": 3, "rejected": 5, "senders": 1, "recipients": 20,
	} {
		m := regexp.MustCompile(`(?m)^\s+(\d+)k?\s+` + word + `\b`).FindSubmatch(out)
		if m == nil {
			t.Errorf("pflogsumm does not print %s", word)
			continue
		}
		if got, _ := strconv.Atoi(string(m[1])); got != want {
			t.Errorf("pflogsumm counts %d %s, want %d", got, word, want)
		}
	}
	if t.Failed() {
		t.Logf("%s", out)
	}
}

// day writes a log as the server would.
type day struct {
	log *Log
	now time.Time
	n   int
}

func (d *day) write(process string, e Event) {
	d.log.Write(d.now, "postfix/"+process, 100+d.n, e)
	d.now = d.now.Add(time.Second)
}

// message is the life of one message with one recipient.
func (d *day) message(fate string, size int64) {
	d.n++
	id := mail.QueueID(fmt.Sprintf("%07X%05X", d.n, d.n))
	d.write("smtpd", &Connect{Client: "c[192.0.2.1]"})
	d.write("smtpd", &Accepted{ID: id, Client: "c[192.0.2.1]"})
	d.write("qmgr", QueueActive{ID: id, From: "a@b.test", Size: size, Recipients: 1})
	e := &Delivery{ID: id, To: mail.Address(fmt.Sprintf("r%d@x.test", d.n)), Relay: "x[192.0.2.2]:25",
		Times: stations(0, 0.1, 0.2, 0.3), DSN: "2.0.0", Outcome: mail.Sent, Reason: "250 2.0.0 Ok: queued as ABC"}
	switch fate {
	case "deferred":
		e.Outcome, e.DSN, e.Reason = mail.Deferred, "4.4.1", "connect to x[192.0.2.2]:25: Connection refused"
	case "bounced":
		e.Outcome, e.DSN, e.Reason = mail.Bounced, "5.1.1", "host x[192.0.2.2] said: 550 5.1.1 no such user"
	case "forwarded":
		e.Relay, e.Reason = "local", "forwarded as "+string(id)+"1"
	}
	d.write("smtp", e)
	if e.Outcome != mail.Deferred {
		d.write("qmgr", Removed{ID: id})
	}
	d.write("smtpd", &Disconnect{Client: "c[192.0.2.1]"})
}
