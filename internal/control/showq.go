package control

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"time"

	"postroad/internal/event"
	"postroad/internal/mail"
)

// showqTimeout bounds one listing for a reader that does not read.
const showqTimeout = 5 * time.Minute

// ServeShowq answers on the socket of Postfix's showq(8), public/showq: who
// connects gets the queue as attributes, each a name and a value ended by NUL.
// Monitoring programs read it. It ends with ctx and closes the listener.
func ServeShowq(ctx context.Context, ln *net.UnixListener, q Queue, log *event.Logger) error {
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	slots := make(chan struct{}, maxConns)
	for {
		conn, err := ln.AcceptUnix()
		if ctx.Err() != nil {
			if err == nil {
				conn.Close()
			}
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case slots <- struct{}{}:
		default:
			conn.Close() // as Postfix does beyond its process limit
			continue
		}
		// goroutine: one listing; ends with its connection, after showqTimeout
		// at the latest.
		go func() {
			defer func() { <-slots }()
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(showqTimeout))
			if err := writeShowq(ctx, conn, q); err != nil && ctx.Err() == nil && !errors.Is(err, net.ErrClosed) {
				log.Infof("showq: %v", err)
			}
		}()
	}
}

// writeShowq writes the whole queue.
func writeShowq(ctx context.Context, w io.Writer, q Queue) error {
	out := &attrWriter{w: bufio.NewWriterSize(w, 32<<10)}
	out.put("protocol", "mail_queue_list_protocol")
	out.end()
	err := q.List(ctx, func(e *Entry) error {
		out.entry(e)
		return out.err
	})
	if err != nil {
		return err
	}
	out.end()
	return out.w.Flush()
}

// attrWriter writes Postfix's attribute protocol; the first error sticks.
type attrWriter struct {
	w   *bufio.Writer
	err error
}

func (a *attrWriter) raw(s string) {
	if a.err == nil {
		_, a.err = a.w.WriteString(s)
	}
}

// put writes one attribute. Control characters, NUL above all, become "?".
func (a *attrWriter) put(name, value string) {
	a.raw(name)
	a.raw("\x00")
	a.raw(string(event.AppendPrintable(nil, value)))
	a.raw("\x00")
}

// end ends a list of attributes.
func (a *attrWriter) end() { a.raw("\x00") }

// entry writes one message.
func (a *attrWriter) entry(e *Entry) {
	expired := "0"
	if e.Expired {
		expired = "1"
	}
	a.put("queue_name", e.Queue)
	a.put("queue_id", string(e.ID))
	a.put("time", strconv.FormatInt(e.Arrived.Unix(), 10))
	a.put("size", strconv.FormatInt(e.Size, 10))
	a.put("forced_expire", expired)
	a.put("sender", showqAddress(e.Sender))
	for i := range e.Recipients {
		r := &e.Recipients[i]
		original, class := "", ""
		if given := r.FirstAddress(); given != "" {
			original = given.External()
		}
		switch {
		case r.Reason == "":
		case r.Bounced:
			class = "bounce"
		default:
			class = "defer"
		}
		a.put("original_recipient", original)
		a.put("recipient", showqAddress(r.Address))
		a.put("log_class", class)
		a.put("reason", r.Reason)
	}
	a.end()
}

// showqAddress is an address in RFC 5321 form; the null sender has a name.
func showqAddress(a mail.Address) string {
	if a == "" {
		return "MAILER-DAEMON"
	}
	return a.External()
}
