package scenario

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"postroad/internal/testkit"
)

// stranger is the address of a client that says nothing else.
const stranger = "198.51.100.9"

// open connects a client and records the greeting.
func (p *stage) open(ctx context.Context, rest string) error {
	words := strings.Fields(rest)
	if len(words) == 0 {
		return fmt.Errorf("want a name")
	}
	name, from, to, wrapped, quiet := words[0], stranger, "192.0.2.1:25", false, false
	for i := 1; i < len(words); i++ {
		switch {
		case words[i] == "from" && i+1 < len(words):
			i++
			from = words[i]
		case words[i] == "to" && i+1 < len(words):
			i++
			to = words[i]
		case words[i] == "tls":
			wrapped = true
		case words[i] == "quiet":
			quiet = true
		default:
			return fmt.Errorf("unknown word %q", words[i])
		}
	}
	conn, err := p.Dial(ctx, from, to)
	if err != nil {
		return err
	}
	c := testkit.NewPlayer(conn, stepTimeout)
	p.clients[name] = c
	p.say("%s connects from %s to %s", name, from, to)
	if quiet {
		return nil
	}
	if wrapped {
		if err := p.handshake(name, c); err != nil {
			return err
		}
	}
	return p.read(ctx, name, c)
}

// client does one line of a client.
func (p *stage) client(ctx context.Context, word, rest string) error {
	name := strings.TrimRight(word, "<>!.")
	c, ok := p.clients[name]
	if !ok && p.gone[name] && rest == "eof" {
		return nil
	}
	if !ok {
		return fmt.Errorf("unknown step or client %q", word)
	}
	switch verb := word[len(name):]; verb {
	case ">", ">>":
		p.say("%s> %s", name, rest)
		if err := c.Send(rest); err != nil {
			return p.lost(ctx, name, err)
		}
		if verb == ">" {
			return p.read(ctx, name, c)
		}
		return nil
	case "<":
		n, err := strconv.Atoi(rest)
		if err != nil {
			return err
		}
		for range n {
			if err := p.read(ctx, name, c); err != nil {
				return err
			}
		}
		return nil
	case "!":
		raw, err := strconv.Unquote(rest)
		if err != nil {
			return fmt.Errorf("want a Go string: %w", err)
		}
		p.say("%s! %s", name, rest)
		if err := c.SendRaw(raw); err != nil {
			return p.lost(ctx, name, err)
		}
		return nil
	case ".":
		text, err := os.ReadFile(filepath.Join(p.Dir, textPath(rest)))
		if err != nil {
			return err
		}
		p.say("%s. %s", name, rest)
		if err := c.SendData(string(text)); err != nil {
			return p.lost(ctx, name, err)
		}
		return p.read(ctx, name, c)
	}
	return p.control(ctx, name, rest)
}

// control does the steps of a client that are words.
func (p *stage) control(ctx context.Context, name, verb string) error {
	c := p.clients[name]
	switch verb {
	case "tls":
		p.say("%s> STARTTLS", name)
		if err := c.Send("STARTTLS"); err != nil {
			return p.lost(ctx, name, err)
		}
		if err := p.read(ctx, name, c); err != nil {
			return err
		}
		return p.handshake(name, c)
	case "handshake":
		return p.handshake(name, c)
	case "eof":
		for {
			if _, ok := p.clients[name]; !ok {
				return nil
			}
			if err := p.read(ctx, name, c); err != nil {
				return err
			}
		}
	case "close", "reset":
		p.say("%s closes", name)
		delete(p.clients, name)
		end := c.Close
		if verb == "reset" {
			end = c.Reset
		}
		if err := end(); err != nil {
			return err
		}
		return p.ended(ctx)
	}
	return fmt.Errorf("unknown step %q", verb)
}

// read takes one reply and records it. The end of the connection is recorded
// too, and forgets the client.
func (p *stage) read(ctx context.Context, name string, c *testkit.Player) error {
	r, err := c.Read()
	for _, line := range r.Lines {
		p.say("%s< %s", name, line)
	}
	if err != nil {
		return p.lost(ctx, name, err)
	}
	return nil
}

// lost records that the server has closed the connection; any other error is
// one of the play.
func (p *stage) lost(ctx context.Context, name string, err error) error {
	if !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		return err
	}
	p.say("%s is closed by the server", name)
	_ = p.clients[name].Close() // it is closed already
	delete(p.clients, name)
	p.gone[name] = true
	return p.ended(ctx)
}

// ended waits until the server has logged the end of one more session, so that
// the order of the log is that of the script.
func (p *stage) ended(ctx context.Context) error {
	p.closed++
	wait, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	// A session that was refused at once logs no end: time alone goes on then.
	_ = p.waitLog(wait, p.closed, `disconnect from |postscreen\[\d+\]: DISCONNECT |statistics: max connection rate`)
	return ctx.Err()
}

// handshake runs TLS on the client's connection and records what was agreed.
func (p *stage) handshake(name string, c *testkit.Player) error {
	st, err := c.StartTLS(&tls.Config{InsecureSkipVerify: true, ServerName: "mx.example.test"}) //nolint:gosec // a test's certificate
	if err != nil {
		p.say("%s fails the handshake", name)
		return nil
	}
	p.say("%s speaks %s", name, tls.VersionName(st.Version))
	return nil
}
