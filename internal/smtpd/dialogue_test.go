package smtpd

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// dialogueConfigs are the servers of the dialogues: as it is, with refusals at
// each stage, and with limits that are soon reached.
var dialogueConfigs = []string{
	"",
	"smtpd_data_restrictions = check_sender_access inline:{ {b@b.test = reject} }\nsmtpd_end_of_data_restrictions = check_sender_access inline:{ {c@b.test = 450 later} }\n",
	"message_size_limit = 40\nsmtpd_forbid_bare_newline = reject\n",
	"smtpd_delay_reject = no\nsmtpd_helo_restrictions = check_helo_access inline:{ {bad.test = reject} }\nsmtpd_soft_error_limit = 2\nsmtpd_hard_error_limit = 4\nsmtpd_junk_command_limit = 3\n",
	"soft_bounce = yes\nsmtpd_forbid_unauth_pipelining = no\nsmtpd_helo_required = yes\nline_length_limit = 512\n",
}

// dialogueCommon is what all of them have.
const dialogueCommon = "smtpd_tls_security_level = may\nsmtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = postroad\n" +
	"smtpd_sasl_path = inline:{ {joe = {PLAIN}secret} }\nsmtpd_authorized_xclient_hosts = 127.0.0.1, 192.0.2.7\nsmtpd_authorized_xforward_hosts = 127.0.0.1\n"

// utterances are what the client of a dialogue may say, one reply to each. A
// word in capitals alone is a move of the client that takes more than a line.
var utterances = []string{
	"EHLO c.test", "HELO bad.test", "MAIL FROM:<a@b.test>", "MAIL FROM:<b@b.test> SIZE=10", "MAIL FROM:<c@b.test> BODY=8BITMIME", "MAIL FROM:<>",
	"MAIL FROM:<a@b.test> SIZE=99999999", "RCPT TO:<joe@mx.test>", "RCPT TO:<x@far.test>", "RCPT TO:<@>", "(data)", "(data dots)", "(data bare)", "(data long)",
	"BDAT 5 (chunk)", "BDAT 5 LAST (chunk)", "BDAT 0", "BDAT 0 LAST", "BDAT 70 (chunk)", "RSET", "NOOP", "VRFY joe@mx.test", "ETRN mx.test", "HELP",
	"QUIT", "STARTTLS", "STARTTLS now", "AUTH PLAIN (answer)", "AUTH PLAIN =", "AUTH PLAIN AGpvZQBzZWNyZXQ=", "AUTH", "XCLIENT NAME=x ADDR=192.0.2.7",
	"XFORWARD NAME=x", "", "FOO", "GET / HTTP/1.0", "(random)", "(pipeline)", "BDAT 1x", "\xff\xfe", "FOO " + strings.Repeat("x", 3000),
}

// eager is the client's end of a pipe whose writes do not wait for the server.
type eager struct {
	net.Conn
	queue chan []byte
}

func (e *eager) Write(p []byte) (int, error) {
	e.queue <- append([]byte(nil), p...)
	return len(p), nil
}

// speaker is the client of a dialogue together with its model of the server: a
// transaction that begins with MAIL and ends with whatever ends it.
type speaker struct {
	t     *testing.T
	spool *spool
	conn  net.Conn
	in    *bufio.Reader
	moves []byte
	said  []string
	// sender and rcpts are the transaction, open when there is one; chunks tells
	// that BDAT has begun; trusted clients may relay.
	sender                        string
	rcpts                         []string
	open, chunks, secure, trusted bool
}

// errEnd means that the server has closed the connection.
var errEnd = errors.New("closed")

// byte takes a byte of the program; 0 behind its end.
func (c *speaker) byte() byte {
	if len(c.moves) == 0 {
		return 0
	}
	b := c.moves[0]
	c.moves = c.moves[1:]
	return b
}

// reply reads one reply.
func (c *speaker) reply() (string, error) {
	for n := 0; ; n++ {
		line, err := c.in.ReadString('\n')
		if errors.Is(err, os.ErrDeadlineExceeded) {
			c.t.Errorf("no reply\n%s", strings.Join(c.said, "\n"))
		}
		if err != nil {
			return "", errEnd
		}
		c.said = append(c.said, "S: "+strings.TrimSpace(line))
		if len(line) < 6 || len(line) > 1000 || n > 50 || line[0] < '2' || line[0] > '5' {
			c.t.Errorf("reply %q\n%s", line, strings.Join(c.said, "\n"))
		}
		if len(line) > 3 && line[3] == ' ' {
			return line, nil
		}
	}
}

// say sends text and reads the reply to it.
func (c *speaker) say(text string) (string, error) {
	c.said = append(c.said, fmt.Sprintf("C: %q", text))
	stored := len(c.spool.done)
	if _, err := io.WriteString(c.conn, text); err != nil {
		return "", errEnd
	}
	r, err := c.reply()
	if err != nil {
		return "", err
	}
	more := len(c.spool.done) - stored
	if queued := strings.Contains(r, "queued as "); queued != (more == 1) || more > 1 || queued && r[0] != '2' {
		c.t.Errorf("%d messages stored, reply %q\n%s", more, r, strings.Join(c.said, "\n"))
	}
	if more == 1 {
		want := fmt.Sprintf("<%s> <%s> ", c.sender, strings.Join(c.rcpts, " "))
		if got := c.spool.done[stored]; !c.open || len(c.rcpts) == 0 || !strings.HasPrefix(got, want) {
			c.t.Errorf("stored %q, want %q\n%s", got, want, strings.Join(c.said, "\n"))
		}
		if len(c.spool.done) > 100 {
			c.spool.done = c.spool.done[:0]
		}
	}
	return r, nil
}

// end is the end of the transaction.
func (c *speaker) end() { c.open, c.chunks, c.rcpts = false, false, nil }

// move makes one move of the program.
func (c *speaker) move() error {
	u := utterances[int(c.byte())%len(utterances)]
	verb, _, _ := strings.Cut(u, " ")
	switch {
	case strings.HasPrefix(u, "(data"):
		return c.data(u)
	case u == "(random)":
		return c.random()
	case u == "(pipeline)":
		return c.pipeline()
	case verb == "BDAT":
		return c.chunk(u)
	case strings.HasSuffix(u, " (answer)"):
		r, err := c.say(strings.TrimSuffix(u, " (answer)") + "\r\n")
		if err == nil && strings.HasPrefix(r, "334 ") {
			r, err = c.say([]string{"AGpvZQBzZWNyZXQ=\r\n", "*\r\n", "=!\r\n", "\r\n"}[c.byte()%4])
		}
		c.trusted = c.trusted || strings.HasPrefix(r, "235 ")
		return err
	}
	r, err := c.say(u + "\r\n")
	if err != nil {
		return err
	}
	ok := r[0] == '2'
	switch {
	case u == "STARTTLS" && ok:
		return c.handshake()
	case verb == "MAIL" && ok:
		if c.open {
			c.t.Errorf("MAIL in MAIL\n%s", strings.Join(c.said, "\n"))
		}
		_, rest, _ := strings.Cut(u, "<")
		c.sender, _, _ = strings.Cut(rest, ">")
		c.open = true
	case verb == "RCPT" && ok:
		rcpt := strings.Trim(strings.TrimPrefix(u, "RCPT TO:"), "<>")
		if !c.open || rcpt != "joe@mx.test" && !(c.trusted && rcpt == "x@far.test") {
			c.t.Errorf("%s is accepted\n%s", u, strings.Join(c.said, "\n"))
		}
		c.rcpts = append(c.rcpts, rcpt)
	case (verb == "RSET" || verb == "EHLO" || verb == "HELO" || verb == "XCLIENT") && ok:
		c.end()
	}
	if ok && (verb == "AUTH" || verb == "XCLIENT") { // the address given is in mynetworks
		c.trusted = true
	}
	return nil
}

// handshake begins TLS; all that was known before is gone.
func (c *speaker) handshake() error {
	if c.secure {
		c.t.Errorf("TLS in TLS\n%s", strings.Join(c.said, "\n"))
	}
	s := tls.Client(c.conn, &tls.Config{InsecureSkipVerify: true}) // it is the certificate of this test
	if err := s.Handshake(); err != nil {
		return errEnd
	}
	c.conn, c.in, c.secure = s, bufio.NewReader(s), true
	c.end() // what XCLIENT said stays; a login does not, and c.trusted allows more than it must
	return nil
}

// data sends a message when the server is ready for one.
func (c *speaker) data(kind string) error {
	r, err := c.say("DATA\r\n")
	if err != nil || r[0] != '3' {
		return err
	}
	if !c.open || len(c.rcpts) == 0 || c.chunks {
		c.t.Errorf("354 without an envelope\n%s", strings.Join(c.said, "\n"))
	}
	text := map[string]string{
		"(data)": "x: y\r\n\r\nz\r\n", "(data dots)": "..\r\n.x\r\n.\r.\r\n",
		"(data bare)": "a\n.\nMAIL FROM:<evil@b.test>\r.\r\n", "(data long)": strings.Repeat("x", 3000) + "\r\n",
	}[kind]
	_, err = c.say(text + ".\r\n")
	c.end()
	return err
}

// chunk sends BDAT with its chunk.
func (c *speaker) chunk(u string) error {
	text, _, chunk := strings.Cut(u, " (chunk)")
	var size int
	_, _ = fmt.Sscanf(text, "BDAT %d", &size)
	body := ""
	if chunk {
		fill := []string{"a", "\r\n", "\n", ".\r\n", "\r", "RSET\r\n"}[c.byte()%6]
		body = strings.Repeat(fill, size)[:size]
	}
	_, err := c.say(text + "\r\n" + body)
	c.chunks = true
	if strings.Contains(u, "LAST") {
		c.end()
	}
	return err
}

// random sends a line of the program's bytes.
func (c *speaker) random() error {
	line := make([]byte, int(c.byte())%80)
	for i := range line {
		if line[i] = c.byte(); line[i] == '\r' || line[i] == '\n' {
			line[i] = 'x'
		}
	}
	word := strings.ToUpper(string(line[:min(len(line), 5)]))
	for _, verb := range []string{"AUTH", "BDAT", "DATA", "START", "MAIL", "RCPT", "HELO", "EHLO", "RSET", "XCLIE"} {
		if strings.HasPrefix(strings.TrimLeft(word, " \t"), verb) {
			return nil // those have moves of their own
		}
	}
	r, err := c.say(string(line) + "\r\n")
	if err == nil && r[0] == '3' {
		c.t.Errorf("%q is answered by %q", line, r)
	}
	return err
}

// pipeline sends several commands at once; there are as many replies, or the end.
func (c *speaker) pipeline() error {
	group := []string{"NOOP", "RCPT TO:<@>", "RSET", "VRFY x", "FOO"}
	var text strings.Builder
	n := int(c.byte()) % 5
	for range n {
		u := group[int(c.byte())%len(group)]
		if u == "RSET" {
			c.end()
		}
		text.WriteString(u + "\r\n")
	}
	if n == 0 {
		return nil
	}
	if _, err := c.say(text.String()); err != nil {
		return err
	}
	for range n - 1 {
		if _, err := c.reply(); err != nil {
			return err
		}
	}
	return nil
}

// FuzzDialogue lets a client that waits for its replies go through any order of
// commands, TLS, authentication and errors, and keeps a model of what must be:
//
//   - one reply to each command, or the end of the session;
//   - a message is stored when and only when it is acknowledged, once for one DATA
//     or one last BDAT, with the envelope of this transaction and no other;
//   - nothing of a transaction outlives its end, a refusal, a greeting or STARTTLS;
//   - no panic, no reply without a bound.
func FuzzDialogue(f *testing.F) {
	room := newDialogueRoom(f)
	letter := []string{"EHLO c.test", "MAIL FROM:<a@b.test>", "RCPT TO:<joe@mx.test>"}
	for i := range dialogueConfigs {
		for _, u := range utterances {
			f.Add(uint8(i), moves(append(letter, u, "(data)", "QUIT")...))
			f.Add(uint8(i), moves("EHLO c.test", "STARTTLS", u, "EHLO c.test", "MAIL FROM:<b@b.test> SIZE=10", "RCPT TO:<joe@mx.test>", u, "(data bare)", u))
			f.Add(uint8(i), moves(append(letter, "BDAT 5 (chunk)", u, "BDAT 5 LAST (chunk)", u, "RCPT TO:<joe@mx.test>", "(data)")...))
		}
	}
	f.Fuzz(func(t *testing.T, config uint8, program []byte) { room.talk(t, int(config), program) })
}

// moves is the program that makes these utterances.
func moves(words ...string) []byte {
	var out []byte
	for _, w := range words {
		for i, u := range utterances {
			if u == w && w != "" {
				out = append(out, byte(i))
			}
		}
	}
	return out
}

// dialogueRoom has the servers of the dialogues.
type dialogueRoom struct {
	servers []*Server
	spools  []*spool
	logs    []*journal
}

func newDialogueRoom(t testing.TB) *dialogueRoom {
	t.Helper()
	room, chain := &dialogueRoom{}, certificate(t)
	for _, config := range dialogueConfigs {
		srv, s := newServer(t, dialogueCommon+"smtpd_tls_chain_files = "+chain+"\n"+config)
		log := &journal{}
		srv.Log = log
		room.servers, room.spools, room.logs = append(room.servers, srv), append(room.spools, s), append(room.logs, log)
	}
	return room
}

// talk has one dialogue with a server of the room.
func (r *dialogueRoom) talk(t *testing.T, config int, program []byte) {
	n := config % len(r.servers)
	log := r.logs[n]
	log.take()
	ours, theirs := net.Pipe()
	_ = ours.SetDeadline(time.Now().Add(20 * time.Second))
	e := &eager{ours, make(chan []byte, 1000)}
	var wg sync.WaitGroup
	// goroutine: writes what the client says; ends when the queue is closed.
	wg.Go(func() {
		for p := range e.queue {
			_, _ = ours.Write(p) // the server may be gone
		}
	})
	// goroutine: the session; ends with the connection.
	wg.Go(func() { r.servers[n].ServeConn(context.Background(), theirs) })
	c := &speaker{t: t, spool: r.spools[n], conn: e, in: bufio.NewReader(e), moves: program[:min(len(program), 400)]}
	_, err := c.reply()
	for err == nil && len(c.moves) > 0 {
		err = c.move()
	}
	_ = ours.Close()
	close(e.queue)
	wg.Wait()
	if text := log.take(); strings.Contains(text, "panic") || strings.Contains(text, "timeout after") {
		t.Errorf("log: %s\n%s", text, strings.Join(c.said, "\n"))
	}
}
