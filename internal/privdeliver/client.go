package privdeliver

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"time"
)

// Spawner starts a process for a user and returns the socket to it. It is how
// the worker asks master.
type Spawner func(ctx context.Context, uid, gid int) (net.Conn, error)

// Users runs requests with the rights of users: in this process when it is that
// user, else in a process of the user's own.
type Users struct {
	// Spawn is nil when nobody stands behind this process.
	Spawn Spawner

	mu    sync.Mutex
	links map[[2]int]*link
}

// ErrRights says that this process may not act as the user.
var ErrRights = errors.New("this server runs as another user and cannot act for the recipient")

// oneWrite is the size up to which a message travels with its question.
const oneWrite = 64 << 10

// idleTime is how long a process of a user is kept without work.
const idleTime = 30 * time.Second

// Can tells whether requests as that user are possible at all.
func (u *Users) Can(uid int) bool { return uid == os.Geteuid() || u.Spawn != nil }

// Do runs a request as uid and gid. content gives the message; it is called at
// most once.
func (u *Users) Do(ctx context.Context, uid, gid int, r *Request, content func() (io.ReadCloser, error)) (Result, error) {
	if uid == os.Geteuid() {
		return doHere(r, content)
	}
	if !u.Can(uid) {
		return Result{}, ErrRights
	}
	l, err := u.link(ctx, uid, gid)
	if err != nil {
		return Result{}, err
	}
	return l.ask(ctx, r, content)
}

func doHere(r *Request, content func() (io.ReadCloser, error)) (Result, error) {
	if content == nil {
		return Do(r, nil), nil
	}
	body, err := content()
	if err != nil {
		return Result{}, err
	}
	defer func() { _ = body.Close() }()
	return Do(r, body), nil
}

// link finds or starts the process of a user.
func (u *Users) link(ctx context.Context, uid, gid int) (*link, error) {
	key := [2]int{uid, gid}
	u.mu.Lock()
	defer u.mu.Unlock()
	if l := u.links[key]; l != nil && l.take() {
		return l, nil
	}
	conn, err := u.Spawn(ctx, uid, gid)
	if err != nil {
		return nil, err
	}
	l := newLink(conn)
	if u.links == nil {
		u.links = map[[2]int]*link{}
	}
	u.links[key] = l
	return l, nil
}

// Close ends all processes.
func (u *Users) Close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, l := range u.links {
		_ = l.conn.Close()
	}
	u.links = nil
}

// link is the socket to one process.
type link struct {
	conn net.Conn
	// send serialises questions; out is the buffer of the last one.
	send sync.Mutex
	out  []byte

	mu      sync.Mutex
	last    uint64
	waiting map[uint64]chan Result
	idle    *time.Timer
	dead    bool
}

// errLost says that the process of a user went away.
var errLost = errors.New("the process of the user ended")

func newLink(conn net.Conn) *link {
	l := &link{conn: conn, waiting: map[uint64]chan Result{}}
	l.idle = time.AfterFunc(idleTime, l.close)
	l.idle.Stop()
	// goroutine: reads answers; ends with the connection.
	go l.read()
	return l
}

// close ends an idle link.
func (l *link) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		l.dead = true
		_ = l.conn.Close()
	}
}

// take tells whether the link is alive, and keeps it from closing.
func (l *link) take() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.idle.Stop()
	return !l.dead
}

func (l *link) read() {
	in := bufio.NewReaderSize(l.conn, 4<<10)
	for {
		a, err := readAnswer(in)
		if err != nil {
			break
		}
		l.mu.Lock()
		ch := l.waiting[a.ID]
		delete(l.waiting, a.ID)
		if len(l.waiting) == 0 {
			l.idle.Reset(idleTime)
		}
		l.mu.Unlock()
		if ch != nil {
			ch <- a.Result
		}
	}
	_ = l.conn.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead = true
	for _, ch := range l.waiting {
		close(ch)
	}
	l.waiting = map[uint64]chan Result{}
}

// ask sends one question and waits for the answer. When ctx ends first the
// request may still be carried out.
func (l *link) ask(ctx context.Context, r *Request, content func() (io.ReadCloser, error)) (Result, error) {
	ch := make(chan Result, 1)
	l.mu.Lock()
	if l.dead {
		l.mu.Unlock()
		return Result{}, errLost
	}
	l.last++
	id := l.last
	l.waiting[id] = ch
	l.idle.Stop()
	l.mu.Unlock()
	if err := l.write(question{ID: id, Request: *r, Content: content != nil}, content); err != nil {
		_ = l.conn.Close() // half a message cannot be taken back
		return Result{}, err
	}
	select {
	case res, ok := <-ch:
		if !ok {
			return Result{}, errLost
		}
		return res, nil
	case <-ctx.Done():
		return Result{}, ctx.Err()
	}
}

func (l *link) write(q question, content func() (io.ReadCloser, error)) error {
	l.send.Lock()
	defer l.send.Unlock()
	out, err := appendQuestion(l.out[:0], &q)
	if err != nil {
		return err
	}
	l.out = out
	if content == nil {
		_, err := l.conn.Write(out)
		return err
	}
	body, err := content()
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	if n := int(q.Request.Size); n <= oneWrite {
		at := len(out)
		l.out = slices.Grow(out, n)[:at+n]
		if _, err := io.ReadFull(body, l.out[at:]); err != nil {
			return err
		}
		_, err := l.conn.Write(l.out)
		return err
	}
	if _, err := l.conn.Write(out); err != nil {
		return err
	}
	_, err = io.CopyN(l.conn, body, q.Request.Size)
	return err
}
