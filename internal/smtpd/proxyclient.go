package smtpd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"postroad/internal/event"
	"postroad/internal/postconf"
	"postroad/internal/sys"
	"postroad/internal/wire"
)

// Bounds of what a filter says.
const (
	maxReplyLines    = 512
	proxyLineLimit   = 2048
	maxXforwardBytes = 512 - len("250 XFORWARD\r\n")
)

// proxyFilter is where smtpd_proxy_filter is.
type proxyFilter struct {
	// name is as in main.cf, for the log.
	name, network, addr string
	adjust              bool
}

// parseProxyFilter reads smtpd_proxy_filter and smtpd_proxy_options; no filter is nil.
func parseProxyFilter(set *Settings) (*proxyFilter, error) {
	if set.ProxyFilter == "" {
		return nil, nil
	}
	f := &proxyFilter{name: set.ProxyFilter, network: "tcp"}
	for _, o := range set.ProxyOptions {
		if o != "speed_adjust" {
			return nil, fmt.Errorf("unknown smtpd_proxy_options value \"%s\" in \"%s\"", o, strings.Join(set.ProxyOptions, " "))
		}
		f.adjust = true
	}
	kind, rest, ok := strings.Cut(f.name, ":")
	switch {
	case ok && strings.EqualFold(kind, "unix"):
		f.network, f.addr = "unix", rest
		if !strings.HasPrefix(rest, "/") {
			f.addr = set.QueueDir + "/" + rest
		}
		return f, nil
	case !ok || !strings.EqualFold(kind, "inet"):
		rest = f.name
	}
	host, port, err := postconf.SplitHostPort(rest)
	if err != nil {
		return nil, fmt.Errorf("smtpd_proxy_filter: %w", err)
	}
	if host == "" {
		host = "localhost"
	}
	f.addr = net.JoinHostPort(strings.Trim(host, "[]"), port)
	return f, nil
}

// patient is a connection whose every read and write has a time limit.
type patient struct {
	net.Conn
	limit time.Duration
}

// Read implements net.Conn.
func (p patient) Read(b []byte) (int, error) {
	if err := p.SetReadDeadline(time.Now().Add(p.limit)); err != nil {
		return 0, err
	}
	return p.Conn.Read(b)
}

// Write implements net.Conn.
func (p patient) Write(b []byte) (int, error) {
	if err := p.SetWriteDeadline(time.Now().Add(p.limit)); err != nil {
		return 0, err
	}
	return p.Conn.Write(b)
}

// proxyClient is one SMTP conversation with a filter.
type proxyClient struct {
	filter *proxyFilter
	log    *event.Logger
	conn   net.Conn
	r      *wire.Reader
	w      *wire.Writer
	// reply is the last reply, its lines parted by CRLF; lost tells that no more
	// will come.
	reply string
	lost  bool
}

// proxyFailure is what the client hears when the filter does not do its part.
const proxyFailure = "451 4.3.0 Error: queue file write error"

// dialProxy connects to the filter; false means that the reply is a failure.
func (c *proxyClient) dial(ctx context.Context, limit time.Duration, pool *wire.Pool) bool {
	d := net.Dialer{Timeout: limit}
	d.SetMultipathTCP(false)
	conn, err := d.DialContext(ctx, c.filter.network, c.filter.addr)
	if err != nil {
		c.log.Warnf("connect to proxy filter %s: %s", c.filter.name, sys.Reason(err))
		return c.fail(nil)
	}
	c.conn = patient{conn, limit}
	c.r, c.w = wire.NewReader(c.conn, pool), wire.NewWriter(c.conn, pool)
	return true
}

// fail makes the reply a failure of ours, and logs why; it returns false.
func (c *proxyClient) fail(err error) bool {
	switch {
	case err == nil:
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.log.Warnf("timeout talking to proxy %s", c.filter.name)
	default:
		c.log.Warnf("lost connection with proxy %s", c.filter.name)
	}
	c.lost = c.lost || err != nil
	c.reply = proxyFailure
	return false
}

// command sends a line, unless it is empty, and reads the reply. The reply must
// begin with want; 0 is content with any. Replies 2xx and 3xx that were not
// expected would only confuse the client: it hears a failure instead.
func (c *proxyClient) command(line string, want byte) bool {
	if c.lost {
		return c.fail(nil)
	}
	if line != "" {
		_, _ = c.w.WriteString(line + "\r\n") // the first error stays and shows at Flush
	}
	if err := c.w.Flush(); err != nil {
		return c.fail(err)
	}
	if err := c.read(); err != nil {
		return c.fail(err)
	}
	if want == 0 || c.reply[0] == want {
		return true
	}
	if line == "" {
		line = "connection request"
	}
	c.log.Warnf("proxy %s rejected \"%s\": \"%s\"", c.filter.name, line, c.reply)
	if c.reply[0] == '2' || c.reply[0] == '3' {
		c.fail(nil)
	}
	return false
}

// read reads one reply. Lines that belong to none are logged and skipped.
func (c *proxyClient) read() error {
	c.reply = ""
	for range maxReplyLines {
		line, _, err := c.r.Line(proxyLineLimit)
		if errors.Is(err, wire.ErrLineTooLong) {
			c.log.Warnf("%s: response longer than %d", c.filter.name, proxyLineLimit)
			continue
		}
		if err != nil {
			return err
		}
		text := string(event.AppendPrintable(nil, string(line)))
		digits := len(text) - len(strings.TrimLeft(text, "0123456789"))
		if digits != 3 || len(text) > 3 && text[3] != ' ' && text[3] != '-' {
			c.log.Warnf("received garbage from proxy %s: %.100s", c.filter.name, text)
			continue
		}
		if c.reply != "" {
			text = "\r\n" + text
		}
		if len(c.reply) < proxyLineLimit {
			c.reply += text
		}
		if len(line) == 3 || line[3] == ' ' {
			return nil
		}
	}
	return io.ErrShortBuffer
}

// close says goodbye and does not wait for the answer.
func (c *proxyClient) close() {
	if c.conn == nil {
		return
	}
	if !c.lost {
		_, _ = c.w.WriteString("QUIT\r\n")
		_ = c.w.Flush() // a filter that does not listen any more needs no goodbye
	}
	c.w.Release()
	c.r.Release()
	_ = c.conn.Close()
	c.conn, c.lost = nil, true
}

// xforward tells the filter about the first hop, as far as it wants to know.
func (c *proxyClient) xforward(attrs []xforwardAttr) bool {
	wanted := map[string]bool{}
	for line := range strings.SplitSeq(c.reply, "\r\n") {
		words := strings.Fields(line[min(len(line), 4):])
		if len(words) > 0 && strings.EqualFold(words[0], "XFORWARD") {
			for _, w := range words[1:] {
				wanted[strings.ToUpper(w)] = true
			}
		}
	}
	line := ""
	for _, a := range attrs {
		if !wanted[a.name] {
			continue
		}
		word := " " + a.name + "=" + wire.EncodeXtext(a.value)
		if a.value == "" {
			word = " " + a.name + "=" + unavailable
		}
		if line != "" && len(line)+len(word) > maxXforwardBytes {
			if !c.command("XFORWARD"+line, '2') {
				return false
			}
			line = ""
		}
		line += word
	}
	return line == "" || c.command("XFORWARD"+line, '2')
}

// xforwardAttr is one attribute of XFORWARD; an empty value is not known.
type xforwardAttr struct{ name, value string }
