package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"syscall"
	"time"

	"postroad/internal/control"
	"postroad/internal/mail"
	"postroad/internal/sys"
)

// exUnavailable is the exit code of every fatal error of postqueue.
const exUnavailable = 69

const postqueueUsage = "usage: postqueue -f | postqueue -i queueid | postqueue -j | postqueue -p | postqueue -s site"

// runPostqueue is postqueue(1).
func runPostqueue(e *Env) int {
	var mode byte
	var arg, dir string
	g := NewGetopt(e.Args, "c:fi:jps:v")
	for {
		opt, err := g.Next()
		if err != nil {
			fmt.Fprintf(e.Stderr, "%s: %v\n", e.Prog, err)
			return e.Fatalf(exUnavailable, postqueueUsage)
		}
		if opt == 0 {
			break
		}
		switch opt {
		case 'c':
			dir = g.Arg
		case 'v':
		default:
			if mode != 0 {
				return e.Fatalf(exUnavailable, postqueueUsage)
			}
			mode, arg = opt, g.Arg
		}
	}
	if len(g.Args()) > 0 {
		return e.Fatalf(exUnavailable, postqueueUsage)
	}
	c, err := e.load(dir)
	if err != nil {
		return e.Fatalf(exUnavailable, "%v", err)
	}
	if mode == 0 {
		return e.Fatalf(exUnavailable, postqueueUsage)
	}
	if mode == 'p' || mode == 'j' {
		return e.showQueue(c, mode == 'j')
	}
	return e.flushQueue(c, mode, arg)
}

// runMailq is mailq(1): sendmail -bp under another name.
func runMailq(e *Env) int { return runSendmail(e) }

// showQueue lists the queue.
func (e *Env) showQueue(c *config, asJSON bool) int {
	if !e.privileged(c) && !c.allowed("authorized_mailq_users", c.settings.MailqUsers, e.UID) {
		return e.Fatalf(exUnavailable, "User %s(%d) is not allowed to view the mail queue", userName(e.UID), e.UID)
	}
	ctx := context.Background()
	why := func(err error) string {
		return fmt.Sprintf("Connect to the %s showq service: %s", c.settings.MailName, sys.Reason(err))
	}
	q, err := e.queue(ctx, c, func(err error) { e.Warnf("Mail system is down -- accessing queue directly (%s)", why(err)) })
	switch {
	case control.Denied(err):
		return e.Fatalf(exUnavailable, "%s", why(syscall.EACCES))
	case errors.Is(err, control.ErrUnavailable):
		return e.Fatalf(exUnavailable, "Queue report unavailable - mail system is down (%s)", why(err))
	case err != nil:
		return e.Fatalf(exUnavailable, "Queue report unavailable: %v", err)
	}
	defer q.Close()
	out := bufio.NewWriter(e.Stdout)
	list := &listing{w: out, long: c.settings.EnableLongQueueIDs, utf8: c.settings.SMTPUTF8Enable}
	show := list.text
	if asJSON {
		show = list.json
	}
	if err := q.List(ctx, show); err != nil {
		_ = out.Flush() // the reason is told next
		if list.lost != nil {
			return e.lostOutput(list.lost)
		}
		return e.Fatalf(exUnavailable, "Queue report unavailable: %v", err)
	}
	if !asJSON {
		list.trailer()
	}
	if err := out.Flush(); err != nil {
		return e.lostOutput(err)
	}
	return 0
}

// lostOutput ends a report that cannot be written. A reader that went away does not
// want to hear about it.
func (e *Env) lostOutput(err error) int {
	if errors.Is(err, syscall.EPIPE) {
		return exUnavailable
	}
	return e.Fatalf(exUnavailable, "output write error: %s", sys.Reason(err))
}

// privileged tells whether the caller is root or owns the mail system.
func (e *Env) privileged(c *config) bool {
	return e.UID == 0 || userName(e.UID) == c.settings.MailOwner || ownsDir(c.settings.QueueDirectory, e.UID)
}

// flushQueue asks the server to try mail now.
func (e *Env) flushQueue(c *config, mode byte, arg string) int {
	if !e.privileged(c) && !c.allowed("authorized_flush_users", c.settings.FlushUsers, e.UID) {
		return e.Fatalf(exUnavailable, "User %s(%d) is not allowed to flush the mail queue", userName(e.UID), e.UID)
	}
	var f control.Flush
	switch mode {
	case 'i':
		if !cleanID(arg) {
			return e.Fatalf(exUnavailable, "Cannot flush queue ID - invalid name: \"%s\"", shorten(arg))
		}
		f.ID = mail.QueueID(arg)
	case 's':
		if !validSite(arg) {
			return e.Fatalf(exUnavailable, "Cannot flush mail queue - invalid destination: \"%s\"", shorten(arg))
		}
		if !c.mayFlushSite(arg) {
			return e.Fatalf(exUnavailable, "Flush service is not configured for destination \"%s\"", arg)
		}
		f.Site = arg
	}
	err := control.NewClient(c.settings.QueueDirectory).Flush(context.Background(), f)
	switch {
	case err == nil, errors.Is(err, control.ErrNotFound):
		return 0
	case errors.Is(err, control.ErrNotEligible):
		return e.Fatalf(exUnavailable, "Flush service is not configured for destination \"%s\"", arg)
	case errors.Is(err, control.ErrUnavailable):
		if mode != 'f' {
			e.Warnf("connect to public/flush: %s", sys.Reason(err))
		}
		return e.Fatalf(exUnavailable, "Cannot flush mail queue - mail system is down")
	case control.Denied(err):
		return e.Fatalf(exUnavailable, "Cannot flush mail queue: Permission denied")
	}
	return e.Fatalf(exUnavailable, "Cannot flush mail queue: %v", err)
}

// mayFlushSite tells whether fast_flush_domains has a site, with a server and
// without one. A list that cannot be asked is the server's affair.
func (c *config) mayFlushSite(site string) bool {
	items, err := c.View(nil).List("fast_flush_domains")
	if err != nil {
		return true
	}
	set, done := openTables(c.Config)
	defer done()
	domains, err := set.DomainList("fast_flush_domains", items, true)
	if err != nil {
		return true
	}
	ctx, cancel := tableContext()
	defer cancel()
	ok, err := domains.Match(ctx, site)
	return ok || err != nil
}

// shorten cuts text of a user for a message.
func shorten(s string) string {
	if len(s) > 100 {
		return s[:100] + "..."
	}
	return s
}

// listing prints messages as mailq does.
type listing struct {
	w          *bufio.Writer
	long, utf8 bool
	messages   int
	bytes      int64
	// lost is why the output could not be written.
	lost error
}

// text prints one message in the form of sendmail's mailq. The widths follow
// the length of queue ids; a longer id pushes the rest to the right.
func (l *listing) text(m *control.Entry) error {
	row, sender := "%-11s %7s %-20s %s\n", "%-11s %7d %20.20s %s\n"
	head := []any{"-Queue ID-", "--Size--", "----Arrival Time----", "-Sender/Recipient-------"}
	if l.long {
		row, sender = "%-17s %8s %-19s %s\n", "%-17s %8d %19.19s %s\n"
		head = []any{"----Queue ID-----", "--Size--", "---Arrival Time----", "--Sender/Recipient------"}
	}
	if l.messages == 0 {
		fmt.Fprintf(l.w, row, head...)
	} else {
		io.WriteString(l.w, "\n")
	}
	id := string(m.ID)
	switch m.Queue {
	case "active":
		id += "*"
	case "hold":
		id += "!"
	}
	if m.Expired {
		id += "#"
	}
	fmt.Fprintf(l.w, sender, id, m.Size, m.Arrived.Local().Format(time.ANSIC), l.address(m.Sender))
	reason := ""
	for i := range m.Recipients {
		r := &m.Recipients[i]
		// A reason holds for all recipients up to the next one.
		if r.Reason != reason {
			reason = r.Reason
			shown := l.printable(reason)
			if shown == "" {
				shown = "reason unavailable"
			}
			fmt.Fprintf(l.w, "%*s(%s)\n", max(76-len(shown), 0), "", shown)
		}
		fmt.Fprintf(l.w, row, "", "", "", l.address(r.Address))
	}
	l.messages++
	l.bytes += m.Size
	return l.flush()
}

// trailer prints the summary.
func (l *listing) trailer() {
	if l.messages == 0 {
		io.WriteString(l.w, "Mail queue is empty\n")
		return
	}
	fmt.Fprintf(l.w, "\n-- %d Kbytes in %s.\n", l.bytes/1024, count(l.messages, "Request"))
}

// json prints one message as a line of JSON, with Postfix's order and spacing.
func (l *listing) json(m *control.Entry) error {
	fmt.Fprintf(l.w, `{"queue_name": %s, "queue_id": %s, "arrival_time": %d, "message_size": %d, "forced_expire": %t, "sender": %s, "recipients": [`,
		l.quote(m.Queue), l.quote(string(m.ID)), m.Arrived.Unix(), m.Size, m.Expired, l.quote(l.address(m.Sender)))
	for i := range m.Recipients {
		r := &m.Recipients[i]
		if i > 0 {
			io.WriteString(l.w, ", ")
		}
		original := ""
		if given := r.FirstAddress(); given != "" {
			original = l.external(given)
		}
		fmt.Fprintf(l.w, `{"orig_address": %s, "address": %s`, l.quote(original), l.quote(l.address(r.Address)))
		if r.Reason != "" {
			key := "delay_reason"
			if r.Bounced {
				key = "bounce_reason"
			}
			fmt.Fprintf(l.w, `, %q: %s`, key, l.quote(l.printable(r.Reason)))
		}
		io.WriteString(l.w, "}")
	}
	io.WriteString(l.w, "]}\n")
	l.messages++
	return l.flush()
}

// flush passes what is printed on when there is much of it.
func (l *listing) flush() error {
	if l.w.Buffered() < 2048 {
		return nil
	}
	l.lost = l.w.Flush()
	return l.lost
}

// address prints an address; the null sender is MAILER-DAEMON.
func (l *listing) address(a mail.Address) string {
	if a == "" {
		return "MAILER-DAEMON"
	}
	return l.external(a)
}

func (l *listing) external(a mail.Address) string { return l.printable(a.External()) }

// printable replaces what a terminal must not see: control characters, and
// bytes that are not UTF-8 (or not ASCII without smtputf8_enable).
func (l *listing) printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' || (!l.utf8 && r > 0x7f) {
			return '?'
		}
		return r
	}, s)
}

// quote writes a JSON string. Postfix leaves all but control characters, quotes
// and backslashes as they are.
func (l *listing) quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ':
			b.WriteString(`\u00` + strconv.FormatInt(0x100+int64(r), 16)[1:])
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
