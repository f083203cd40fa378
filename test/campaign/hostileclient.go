package campaign

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"postroad/internal/testkit"
	"postroad/internal/testkit/box"
)

// crowd is a number of hostile clients.
type crowd struct {
	box         *box.Box
	plan        HostilePlan
	stop        context.CancelFunc
	done        sync.WaitGroup
	open, begun atomic.Int64
}

// trick is what a hostile client does in its connection, from the greeting on.
type trick func(c *foe)

// tricks are the ways of hostile clients. A state of the protocol and what is sent
// in it, a byte a second, or all at once.
var tricks = []trick{
	func(c *foe) { c.wait() },
	func(c *foe) { c.drip("EHLO slow.test\r\n") },
	func(c *foe) { c.to("EHLO"); c.drip("MAIL FROM:<a@b.test>\r\n") },
	func(c *foe) { c.to("MAIL"); c.drip("RCPT TO:<" + remoteRcpt + ">\r\n") },
	func(c *foe) { c.to("DATA"); c.drip("Subject: slow\r\n\r\nslow, slower\r\n") },
	func(c *foe) { c.to("RCPT"); c.write("BDAT 100000\r\n"); c.drip("Subject: slow\r\n\r\n") },
	func(c *foe) {
		c.to("EHLO")
		c.write("STARTTLS\r\n")
		c.drip("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
	},
	func(c *foe) { c.to("EHLO"); c.write("STARTTLS\r\n"); c.read(); c.write("\x16\x03\x01\xff\xffgarbage") },
	func(c *foe) { c.to("EHLO"); c.write("STARTTLS\r\nMAIL FROM:<evil@b.test>\r\n"); c.wait() },
	func(c *foe) { c.to("EHLO"); c.write(strings.Repeat("HELP\r\nVRFY a\r\n", 3000)); c.pause() },
	func(c *foe) { c.to("EHLO"); c.write(strings.Repeat("RSET\r\n", 2000) + "DATA\r\n"); c.wait() },
	func(c *foe) { c.write(strings.Repeat("x", 1<<20)) },
	func(c *foe) { c.to("DATA"); c.write("Subject: " + strings.Repeat("y", 1<<20) + "\r\n") },
	func(c *foe) {
		c.to("MAIL")
		c.write(strings.Repeat("RCPT TO:<"+strings.Repeat("z", 500)+"@remote.test>\r\n", 3000))
		c.wait()
	},
	func(c *foe) { c.to("RCPT"); c.write("BDAT 99999999999999999999 LAST\r\n"); c.wait() },
	func(c *foe) { c.to("RCPT"); c.write("BDAT 9000000 LAST\r\nabc") },
	func(c *foe) { c.to("RCPT"); c.write("BDAT 3\r\nabcBDAT 0\r\nBDAT -1\r\n"); c.wait() },
	func(c *foe) { c.early = true },
	func(c *foe) {},
	func(c *foe) { c.to("DATA"); c.write("half a mess"); c.reset = true },
}

// staying is how many of the tricks, the first ones, keep the connection.
const staying = 7

// trickOf is what a hostile client does: three of four stay as long as they may.
func trickOf(i int) trick {
	if i%4 > 0 {
		return tricks[i%staying]
	}
	return tricks[i/4%len(tricks)]
}

// startCrowd lets hostile clients begin.
func startCrowd(ctx context.Context, b *box.Box, plan HostilePlan) *crowd {
	ctx, cancel := context.WithCancel(ctx)
	k := &crowd{box: b, plan: plan, stop: cancel}
	for i := range plan.Clients {
		// goroutine: a hostile client; ends when Stop cancels the context.
		k.done.Go(func() {
			rnd := rand.New(rand.NewPCG(plan.Seed, uint64(i)))
			testkit.Pause(ctx, time.Duration(rnd.Int64N(int64(plan.Attack/4))))
			for ctx.Err() == nil {
				k.attack(ctx, i, trickOf(i))
				testkit.Pause(ctx, plan.Pause/2+time.Duration(rnd.Int64N(int64(plan.Pause))))
			}
		})
	}
	return k
}

// Stop ends the hostile clients and waits for them.
func (k *crowd) Stop() {
	k.stop()
	k.done.Wait()
}

// attack is one connection of a hostile client.
func (k *crowd) attack(ctx context.Context, i int, t trick) {
	// Few clients to an address, as of a network of infected machines.
	from := fmt.Sprintf("%s.%d", []string{"198.51.100", "203.0.113"}[i/40%2], 10+i/80%240)
	conn, err := k.box.Dial(ctx, from, box.ServerIP+":25")
	if err != nil {
		return
	}
	k.open.Add(1)
	k.begun.Add(1)
	defer k.open.Add(-1)
	c := &foe{ctx: ctx, conn: conn}
	// goroutine: closes the connection when the campaign ends; ends with it.
	end := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer end()
	t(c)
	if c.early {
		c.write("EHLO early.test\r\n")
		c.wait()
	}
	if tcp, ok := conn.(*net.TCPConn); ok && c.reset {
		_ = tcp.SetLinger(0) // a socket of ours can do it
	}
	_ = conn.Close() // it may be closed by the end of the campaign
}

// foe is a hostile client in its connection. Errors are of no interest to it.
type foe struct {
	ctx          context.Context
	conn         net.Conn
	early, reset bool
}

// hostileTime bounds what a hostile client waits for.
const hostileTime = 5 * time.Minute

// read takes whatever comes next.
func (c *foe) read() string {
	buf := make([]byte, 2000)
	_ = c.conn.SetReadDeadline(time.Now().Add(hostileTime))
	n, _ := c.conn.Read(buf)
	return string(buf[:n])
}

// write sends text; a server that does not read is left after a while.
func (c *foe) write(text string) {
	_ = c.conn.SetWriteDeadline(time.Now().Add(20 * time.Second))
	_, _ = io.WriteString(c.conn, text)
}

// to goes on to the state behind a command, waiting for its replies.
func (c *foe) to(state string) {
	c.read()
	for _, line := range []string{"EHLO foe.test", "MAIL FROM:<foe@foe.test>", "RCPT TO:<" + remoteRcpt + ">", "DATA"} {
		c.write(line + "\r\n")
		c.read()
		if strings.HasPrefix(line, state) {
			return
		}
	}
}

// drip sends a byte a second, over and over.
func (c *foe) drip(text string) {
	for i := 0; c.ctx.Err() == nil; i++ {
		if _, err := c.conn.Write([]byte{text[i%len(text)]}); err != nil {
			return
		}
		testkit.Pause(c.ctx, time.Second)
	}
}

// wait reads until the server closes.
func (c *foe) wait() {
	_ = c.conn.SetReadDeadline(time.Now().Add(hostileTime))
	_, _ = io.Copy(io.Discard, c.conn)
}

// pause does not read what is said.
func (c *foe) pause() { testkit.Pause(c.ctx, 10*time.Second) }

// oneAddress opens more connections from one address than it may have, and tells
// how many were served and how many turned away.
func oneAddress(ctx context.Context, b *box.Box) (got [2]int) {
	var conns []net.Conn
	for range 130 {
		conn, err := b.Dial(ctx, "2001:db8::bad", "[2001:db8::1]:25")
		if err != nil {
			continue
		}
		conns = append(conns, conn)
	}
	for _, conn := range conns {
		p := testkit.NewPlayer(conn, 20*time.Second)
		r, err := p.Read()
		switch {
		case r.Code() == "220":
			got[0]++
		case err == nil && r.Code() == "421":
			got[1]++
		}
	}
	for _, conn := range conns {
		_ = conn.Close() // it was a hostile one
	}
	return got
}

// StressReport is what the service with five processes did.
type StressReport struct {
	// Kept is how many of the first four idle clients stayed, Timeout what the
	// fifth heard, and Served whether the sixth had its turn then.
	Kept    int
	Timeout string
	Served  bool
}

// underStress takes all processes of a service but one with idle clients; the one
// that takes the last has the time limits of stress.
func underStress(ctx context.Context, b *box.Box) (StressReport, error) {
	var rep StressReport
	var idle []*testkit.Player
	open := func() (*testkit.Player, error) {
		conn, err := b.Dial(ctx, "198.51.100.9", box.ServerIP+":2525")
		if err != nil {
			return nil, err
		}
		return testkit.NewPlayer(conn, 30*time.Second), nil
	}
	for range 5 {
		p, err := open()
		if err != nil {
			return rep, err
		}
		defer func() { _ = p.Close() }() // it was an idle one
		if _, err := p.Read(); err != nil {
			return rep, fmt.Errorf("idle client: %w", err)
		}
		idle = append(idle, p)
	}
	next, err := open()
	if err != nil {
		return rep, err
	}
	defer func() { _ = next.Close() }() // its letter is not the matter
	r, _ := idle[4].Read()              // the end of the connection follows
	rep.Timeout = r.String()
	r, err = next.Read()
	rep.Served = err == nil && r.Code() == "220"
	for _, p := range idle[:4] {
		if r, err := p.Do("NOOP"); err == nil && r.Code() == "250" {
			rep.Kept++
		}
	}
	return rep, nil
}

// raiseFiles lets this process have as many connections as it may.
func raiseFiles() error {
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		return err
	}
	lim.Cur = lim.Max
	return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &lim)
}
