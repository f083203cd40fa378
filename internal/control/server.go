package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/sys"
)

// Queue is what commands do with the queue. The running server implements it,
// and so does whoever opens the queue while no server runs.
type Queue interface {
	// List calls yield for every message, in the order of the queues incoming,
	// active, deferred, hold, and stops at its first error.
	List(ctx context.Context, yield func(*Entry) error) error
	// Change does op (OpDelete to OpExpireRelease) to the selected messages,
	// calls report for each one done, and returns their number. Messages that
	// do not exist are no error.
	Change(ctx context.Context, op Op, s Selection, report func(mail.QueueID)) (int, error)
	// Cat returns one message; ErrNotFound when there is none.
	Cat(ctx context.Context, id mail.QueueID) (*Message, error)
}

// Handler is the running server as the protocol needs it.
type Handler interface {
	Queue
	// Status describes the server.
	Status(ctx context.Context) (Status, error)
	// Flush makes messages due now. ErrNotEligible says that the site is not
	// one of fast_flush_domains.
	Flush(ctx context.Context, f Flush) error
	// Pickup tells that a message lies in the maildrop.
	Pickup(ctx context.Context) error
	// Reload builds a new generation; its error is shown to the administrator.
	Reload(ctx context.Context) error
	// Limits calls yield for counters of postroad_limit, ResetLimits sets some to
	// zero.
	Limits(ctx context.Context, s LimitSelection, yield func(*Limit) error) error
	ResetLimits(ctx context.Context, s LimitSelection) (int, error)
	// Stop begins a clean end; it does not wait for it.
	Stop(ctx context.Context) error
}

// Errors that keep their meaning across the socket.
var (
	ErrNotFound    = errors.New("no such message")
	ErrDenied      = errors.New("not allowed")
	ErrNotEligible = errors.New("flush service is not configured for the destination")
	ErrUnavailable = errors.New("mail system is down")
)

// codes are the errors above as they travel.
var codes = map[string]error{"not-found": ErrNotFound, "denied": ErrDenied, "not-eligible": ErrNotEligible}

// Peer is the process at the other end, as the kernel tells.
type Peer struct{ UID, GID, PID int }

// Policy says who may ask for what. The superuser and the owner may everything.
type Policy struct {
	// Owner is the uid of the server (mail_owner).
	Owner int
	// View and Move decide about other users by authorized_mailq_users and
	// authorized_flush_users; nil means nobody.
	View, Move func(uid int) bool
}

// allows tells whether the peer may do op.
func (p Policy) allows(peer Peer, op Op) bool {
	if peer.UID == 0 || peer.UID == p.Owner {
		return true
	}
	switch op {
	case OpStatus, OpPickup, OpLog:
		return true
	case OpList:
		return p.View != nil && p.View(peer.UID)
	case OpFlush:
		return p.Move != nil && p.Move(peer.UID)
	}
	return false
}

// Server answers commands.
type Server struct {
	Handler Handler
	Policy  Policy
	// Log is told about connections that fail, and takes the lines of commands;
	// nil is silence.
	Log *event.Logger
}

// Bounds of the server.
const (
	// maxConns bounds requests at a time.
	maxConns       = 64
	requestTimeout = 10 * time.Second
	frameTimeout   = time.Minute
	// chunk bounds what one reply frame carries.
	chunkRecipients = 2000
	chunkBytes      = 256 << 10
)

// acceptPause is the time after which a listener in trouble is asked again.
const acceptPause = 100 * time.Millisecond

// Serve accepts connections until ctx is done; it closes the listener.
func (s *Server) Serve(ctx context.Context, ln *net.UnixListener) error {
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { ln.Close(); close(closed) })
	defer func() {
		if !stop() {
			<-closed // nobody can connect any more
		}
	}()
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
			if errors.Is(err, net.ErrClosed) {
				return err
			}
			s.Log.Warnf("control: accept: %v", err)
			_ = sys.Pause(ctx, acceptPause)
			continue
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			conn.Close()
			return nil
		}
		// goroutine: one request; ends with its connection, which has a time
		// limit.
		go func() {
			defer func() { <-slots }()
			s.serveConn(ctx, conn)
		}()
	}
}

// serveConn answers one request.
func (s *Server) serveConn(ctx context.Context, conn *net.UnixConn) {
	defer func() {
		if p := recover(); p != nil {
			s.Log.Warnf("control: panic: %v", p)
		}
		conn.Close()
	}()
	peer, err := peerOf(conn)
	if err != nil {
		s.Log.Warnf("control: peer credentials: %v", err)
		return
	}
	conn.SetDeadline(time.Now().Add(requestTimeout))
	var req Request
	if err := readFrame(conn, maxRequest, &req); err != nil {
		if !errors.Is(err, io.EOF) {
			s.Log.Warnf("control: request of uid %d: %v", peer.UID, err)
		}
		return
	}
	w := &replies{conn: conn}
	if !s.Policy.allows(peer, req.Op) {
		w.end(reply{}, ErrDenied)
		return
	}
	s.answer(ctx, &req, w)
}

// maxTag bounds the tag of a line.
const maxTag = 100

// write takes a line of a command. What it says is the command's own affair, as in
// logger(1); that it is one line is ours.
func (s *Server) write(l *Line) error {
	if len(l.Tag) > maxTag || l.Tag == "" {
		return ErrFrame
	}
	s.Log.With(string(event.AppendPrintable(nil, l.Tag)), l.PID).Infof("%s", l.Text)
	return nil
}

// answer runs the handler of one operation and sends its answer.
func (s *Server) answer(ctx context.Context, req *Request, w *replies) {
	switch req.Op {
	case OpStatus:
		status, err := s.Handler.Status(ctx)
		w.end(reply{Status: &status}, err)
	case OpList:
		w.end(reply{}, s.Handler.List(ctx, w.entry))
	case OpFlush:
		w.end(reply{}, s.Handler.Flush(ctx, req.Flush))
	case OpPickup:
		w.end(reply{}, s.Handler.Pickup(ctx))
	case OpReload:
		w.end(reply{}, s.Handler.Reload(ctx))
	case OpStop:
		w.end(reply{}, s.Handler.Stop(ctx))
	case OpLog:
		w.end(reply{}, s.write(&req.Line))
	case OpLimits:
		w.end(reply{}, s.Handler.Limits(ctx, req.Limits, func(l *Limit) error { return w.send(reply{Limit: l}) }))
	case OpLimitsReset:
		n, err := s.Handler.ResetLimits(ctx, req.Limits)
		w.end(reply{Count: n}, err)
	case OpCat:
		m, err := s.Handler.Cat(ctx, req.ID)
		if err == nil {
			err = w.message(m)
		}
		w.end(reply{}, err)
	case OpDelete, OpHold, OpRelease, OpRequeue, OpExpire, OpExpireRelease:
		var done []mail.QueueID
		n, err := s.Handler.Change(ctx, req.Op, req.Selection, func(id mail.QueueID) {
			if done = append(done, id); len(done) == chunkRecipients {
				w.send(reply{Done: done})
				done = nil
			}
		})
		w.end(reply{Done: done, Count: n}, err)
	default:
		w.end(reply{}, fmt.Errorf("unknown request %q", req.Op))
	}
}

// replies sends the frames of one answer; after an error it sends no more.
type replies struct {
	conn net.Conn
	err  error
}

func (w *replies) send(r reply) error {
	if w.err != nil {
		return w.err
	}
	w.conn.SetDeadline(time.Now().Add(frameTimeout))
	w.err = writeFrame(w.conn, r)
	return w.err
}

// end sends the last frame, with the error when there is one.
func (w *replies) end(r reply, err error) error {
	if err != nil {
		r = reply{Code: "failed", Error: err.Error()}
		for code, known := range codes {
			if errors.Is(err, known) {
				r.Code = code
			}
		}
	}
	r.End = true
	return w.send(r)
}

// entry sends one message of a listing, a long list of recipients in pieces.
func (w *replies) entry(e *Entry) error {
	piece := *e
	rest := e.Recipients
	for len(rest) > chunkRecipients {
		piece.Recipients, rest = rest[:chunkRecipients], rest[chunkRecipients:]
		if err := w.send(reply{Entry: &piece, More: true}); err != nil {
			return err
		}
	}
	piece.Recipients = rest
	return w.send(reply{Entry: &piece})
}

// message sends envelope and content.
func (w *replies) message(m *Message) error {
	envelope := *m.Envelope
	rest, done := envelope.Recipients, m.Done
	for first := true; first || len(rest) > 0; first = false {
		n := min(len(rest), chunkRecipients)
		envelope.Recipients = rest[:n]
		head := &message{Queue: m.Queue, Expired: m.Expired, Envelope: &envelope, Size: m.Content.Size(), Done: done[:min(n, len(done))]}
		rest, done = rest[n:], done[min(n, len(done)):]
		if err := w.send(reply{Message: head}); err != nil {
			return err
		}
	}
	r, err := m.Content.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	buf := make([]byte, chunkBytes)
	for {
		n, err := io.ReadFull(r, buf)
		if n > 0 {
			if err := w.send(reply{Data: buf[:n]}); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
