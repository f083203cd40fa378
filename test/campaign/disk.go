package campaign

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"postroad/internal/testkit"
	"postroad/internal/testkit/box"
)

// DiskReport is what a campaign against the spool's disk found.
type DiskReport struct {
	testkit.Verdict
	// Replies are what clients heard while the disk was bad.
	Replies []string
	// Slowest is the longest that a client waited for such a reply, and
	// Recovery how long it took from the repair to the first 250.
	Slowest, Recovery time.Duration
	// Drained tells whether the queue emptied while the disk was full.
	Drained bool
}

// String is the report in one line.
func (r DiskReport) String() string {
	return fmt.Sprintf("%s; replies %q, the slowest after %v; queue emptied meanwhile: %v; service again after %v",
		r.Verdict, r.Replies, r.Slowest.Round(time.Millisecond), r.Drained, r.Recovery.Round(time.Millisecond))
}

// diskMain keeps messages small enough for a small disk.
const diskMain = `relay_domains = remote.test
message_size_limit = 1000000
mailbox_size_limit = 0
minimal_backoff_time = 1s
maximal_backoff_time = 1s
queue_run_delay = 1s
transport_retry_time = 1s
`

// DiskFull runs the campaign of the full disk.
func DiskFull(ctx context.Context, subject box.Subject) (DiskReport, error) {
	var r DiskReport
	err := box.Run(ctx, box.Options{Subject: subject, Disk: true}, "diskfull", nil, &r)
	return r, err
}

// ReadOnly runs the campaign of the spool that has become read-only.
func ReadOnly(ctx context.Context, subject box.Subject) (DiskReport, error) {
	var r DiskReport
	err := box.Run(ctx, box.Options{Subject: subject, Disk: true}, "readonly", nil, &r)
	return r, err
}

// spool is a small file system of its own under the queue.
type spool struct {
	image, device string
}

// mountSpool makes an image and mounts it over the spool.
func mountSpool(b *box.Box) (*spool, error) {
	s := &spool{image: filepath.Join(b.Dir, "spool.img")}
	f, err := os.Create(s.image)
	if err != nil {
		return nil, err
	}
	if err := f.Truncate(96 << 20); err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	if err := tool("mkfs.ext4", "-q", "-m", "0", s.image); err != nil {
		return nil, err
	}
	return s, s.mount()
}

// mount puts the image over the spool.
func (s *spool) mount() error {
	if err := tool("mount", "-o", "loop,errors=remount-ro", s.image, "/var/spool/postfix"); err != nil {
		return err
	}
	out, err := exec.Command("findmnt", "-n", "-o", "SOURCE", "--mountpoint", "/var/spool/postfix").Output()
	if err != nil {
		return err
	}
	lines := strings.Fields(string(out))
	if len(lines) == 0 {
		return errors.New("no mount at the spool")
	}
	s.device = filepath.Base(lines[len(lines)-1])
	return nil
}

// tool runs a program of the system.
func tool(name string, arg ...string) error {
	out, err := exec.Command(name, arg...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}

// probe tries to send one letter and returns the reply that ended the try
// ("250 ..." when it was acknowledged), and how long the slowest step took.
func probe(ctx context.Context, b *box.Box, l *testkit.Ledger, rnd *rand.Rand, rcpt string) (reply string, slowest time.Duration) {
	conn, err := b.Dial(ctx, "198.51.100.9", box.ServerIP+":25")
	if err != nil {
		return err.Error(), 0
	}
	p := testkit.NewPlayer(conn, 30*time.Second)
	defer func() { _ = p.Close() }() // the session's end is not the test's matter
	letter := testkit.NewLetter(l.NewID(), 20_000, rnd)
	last := time.Now()
	step := func(send func() error, want string) bool {
		r := testkit.Reply{}
		err := send()
		if err == nil {
			r, err = p.Read()
		}
		slowest = max(slowest, time.Since(last))
		last = time.Now()
		reply = r.String()
		if err != nil {
			reply = strings.TrimSpace(reply + " " + err.Error())
			return false
		}
		return r.Code() == want
	}
	line := func(s string) func() error { return func() error { return p.Send(s) } }
	if !step(func() error { return nil }, "220") || !step(line("EHLO client.test"), "250") {
		return reply, slowest
	}
	if !step(line("MAIL FROM:<sender@client.test>"), "250") || !step(line("RCPT TO:<"+rcpt+">"), "250") || !step(line("DATA"), "354") {
		return reply, slowest
	}
	if step(func() error { return p.SendData(letter.Text) }, "250") {
		l.Ack(letter.ID, rcpt)
	}
	return reply, slowest
}

// diskFull is the campaign of the full disk, in the box.
func diskFull(ctx context.Context, b *box.Box, _ json.RawMessage) (any, error) {
	rep := DiskReport{}
	ledger := testkit.NewLedger()
	rnd := rand.New(rand.NewPCG(1, 2))
	if _, err := mountSpool(b); err != nil {
		return nil, err
	}
	if err := stageServer(ctx, b, ledger, diskMain); err != nil {
		return nil, err
	}
	if err := b.StartServer(ctx, "/etc/postfix", box.ServerIP+":25"); err != nil {
		return nil, withLog(b, err)
	}
	// Mail that waits: its server is not there yet.
	if err := b.ServeDNS("client.test. A 198.51.100.9\nremote.test. SERVFAIL\n"); err != nil {
		return nil, err
	}
	for i := range 20 {
		if r, _ := probe(ctx, b, ledger, rnd, remoteRcpt); !strings.HasPrefix(r, "250") {
			return nil, withLog(b, fmt.Errorf("letter %d on a healthy disk: %s", i+1, r))
		}
	}
	// A session that is past MAIL and RCPT when the disk fills up.
	open, err := b.Dial(ctx, "198.51.100.9", box.ServerIP+":25")
	if err != nil {
		return nil, err
	}
	midway := testkit.NewPlayer(open, 30*time.Second)
	if err := begin(midway); err != nil {
		return nil, err
	}
	filler := "/var/spool/postfix/filler"
	if err := fill(filler); err != nil {
		return nil, err
	}
	big := testkit.NewLetter(ledger.NewID(), 600_000, rnd)
	if err := midway.SendData(big.Text); err != nil {
		rep.Replies = append(rep.Replies, err.Error())
	} else if r, err := midway.Read(); err != nil {
		rep.Replies = append(rep.Replies, err.Error())
	} else {
		rep.Replies = append(rep.Replies, r.String())
		if r.Code() == "250" {
			ledger.Ack(big.ID, remoteRcpt)
		}
	}
	for range 5 {
		r, slow := probe(ctx, b, ledger, rnd, remoteRcpt)
		rep.Replies = append(rep.Replies, r)
		rep.Slowest = max(rep.Slowest, slow)
	}
	if err := deliverWhileFull(ctx, b, ledger, &rep); err != nil {
		return nil, err
	}
	if err := os.Remove(filler); err != nil {
		return nil, err
	}
	return finish(ctx, b, ledger, rnd, rep)
}

// begin takes a session up to the 354.
func begin(p *testkit.Player) error {
	if _, err := p.Read(); err != nil {
		return err
	}
	for _, c := range []struct{ line, code string }{
		{"EHLO client.test", "250"}, {"MAIL FROM:<sender@client.test>", "250"},
		{"RCPT TO:<" + remoteRcpt + ">", "250"}, {"DATA", "354"},
	} {
		if _, err := p.Expect(c.line, c.code); err != nil {
			return err
		}
	}
	return nil
}

// deliverWhileFull brings the remote server back and watches whether waiting
// mail leaves although no block is free.
func deliverWhileFull(ctx context.Context, b *box.Box, l *testkit.Ledger, rep *DiskReport) error {
	if err := b.ServeDNS("client.test. A 198.51.100.9\nremote.test. A 192.0.2.10\n"); err != nil {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	rep.Drained = testkit.Poll(wait, 200*time.Millisecond, func() bool {
		// Its failure shows in the mail that does not come.
		_, _ = b.Exec(wait, box.Command{Line: "postqueue -f"})
		return l.Delivered() >= 20
	})
	return ctx.Err()
}

// fill writes a file until no block is free.
func fill(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	for _, size := range []int{1 << 20, 4096} {
		block := make([]byte, size)
		for {
			if _, err = f.Write(block); err != nil {
				break
			}
		}
		if !errors.Is(err, syscall.ENOSPC) {
			return errors.Join(err, f.Close())
		}
	}
	if err := f.Sync(); err != nil && !errors.Is(err, syscall.ENOSPC) {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}

// finish waits until a client is served again, drains and judges.
func finish(ctx context.Context, b *box.Box, l *testkit.Ledger, rnd *rand.Rand, rep DiskReport) (any, error) {
	began := time.Now()
	wait, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var last string
	ok := testkit.Poll(wait, 100*time.Millisecond, func() bool {
		last, _ = probe(wait, b, l, rnd, remoteRcpt)
		return strings.HasPrefix(last, "250")
	})
	if !ok {
		return nil, withLog(b, fmt.Errorf("no service after the repair: %s (%+v)", last, rep))
	}
	rep.Recovery = time.Since(began)
	if err := drain(ctx, b); err != nil {
		return nil, withLog(b, err)
	}
	rep.Verdict = l.Judge()
	return rep, nil
}

// readOnly is the campaign of the read-only spool, in the box. The kernel does
// not let such a file system become writable again while it is mounted, so the
// repair is the administrator's: stop, mount, start.
func readOnly(ctx context.Context, b *box.Box, _ json.RawMessage) (any, error) {
	rep := DiskReport{}
	ledger := testkit.NewLedger()
	rnd := rand.New(rand.NewPCG(1, 2))
	s, err := mountSpool(b)
	if err != nil {
		return nil, err
	}
	if err := stageServer(ctx, b, ledger, diskMain); err != nil {
		return nil, err
	}
	if err := b.StartServer(ctx, "/etc/postfix", box.ServerIP+":25"); err != nil {
		return nil, withLog(b, err)
	}
	if err := b.ServeDNS("client.test. A 198.51.100.9\nremote.test. SERVFAIL\n"); err != nil {
		return nil, err
	}
	for i := range 10 {
		if r, _ := probe(ctx, b, ledger, rnd, remoteRcpt); !strings.HasPrefix(r, "250") {
			return nil, withLog(b, fmt.Errorf("letter %d on a healthy disk: %s", i+1, r))
		}
	}
	if err := os.WriteFile("/sys/fs/ext4/"+s.device+"/trigger_fs_error", []byte("1"), 0o200); err != nil {
		return nil, err
	}
	for range 3 {
		r, slow := probe(ctx, b, ledger, rnd, remoteRcpt)
		rep.Replies = append(rep.Replies, r)
		rep.Slowest = max(rep.Slowest, slow)
	}
	if err := b.Kill(ctx); err != nil {
		return nil, err
	}
	if err := tool("umount", "/var/spool/postfix"); err != nil {
		return nil, err
	}
	if err := s.mount(); err != nil {
		return nil, err
	}
	if err := b.ServeDNS("client.test. A 198.51.100.9\nremote.test. A 192.0.2.10\n"); err != nil {
		return nil, err
	}
	if err := b.StartServer(ctx, "/etc/postfix", box.ServerIP+":25"); err != nil {
		return nil, withLog(b, err)
	}
	return finish(ctx, b, ledger, rnd, rep)
}
