package table

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

// Limits of one lookup in a database. A peer of ours waits for the answer, and the
// answer to a database that is too slow is an error.
const (
	connectTime = 5 * time.Second
	queryTime   = 10 * time.Second
	lookupTime  = 30 * time.Second
	// maxSessions bounds the connections to one server, shared by all tables that
	// log in with the same settings.
	maxSessions = 20
)

// session is one connection to a database, used by one lookup at a time.
type session interface {
	// ask makes the query for the key and adds what comes back to a. An error that
	// is a refusal leaves the session usable; after any other it is closed.
	ask(ctx context.Context, q *querySpec, key string, a *queryAnswer) error
	// close ends the connection.
	close()
}

// refusal is an error that the database itself gave: the connection is in order.
type refusal struct{ error }

// Unwrap returns the cause.
func (r refusal) Unwrap() error { return r.error }

// errAllDown is the cause when no server may be tried yet.
var errAllDown = errors.New("all servers are down")

// errBusy is the cause when all connections to a server were in use for too long.
var errBusy = errors.New("all connections are busy")

// serverClass orders servers: those of a lower class are preferred.
type serverClass uint8

const (
	unixServer serverClass = iota
	inetServer
	uriServer
)

// server is one database server and the connections to it.
type server struct {
	// name is how messages call it, such as "mysql server HOST"; it has no password.
	name  string
	class serverClass
	dial  func(ctx context.Context) (session, error)
	// twice is for a server that is tried again at once when it fails.
	twice       bool
	idle, retry time.Duration
	// slots has one element per connection in use.
	slots chan struct{}

	mu     sync.Mutex
	unused []unusedSession
	timer  *time.Timer
	closed bool
	// down is when the server may be tried again, zero while it is well; cause is
	// why.
	down  time.Time
	cause error
}

// unusedSession is a connection that waits for work, since a time.
type unusedSession struct {
	session
	since time.Time
}

// servers are the servers that have the same data.
type servers struct {
	list []*server
}

// newServers prepares the list for use. Postfix takes a single server for a load
// balancer, which is asked once more after a failure.
func newServers(list []*server, idle, retry time.Duration) *servers {
	for _, s := range list {
		s.twice, s.idle, s.retry = len(list) == 1, idle, retry
		s.slots = make(chan struct{}, maxSessions)
	}
	return &servers{list: list}
}

// order returns the servers in the order in which they are tried: by class, and at
// random within a class.
func (g *servers) order() []*server {
	if len(g.list) == 1 {
		return g.list
	}
	var out []*server
	for class := unixServer; class <= uriServer; class++ {
		start := len(out)
		for _, s := range g.list {
			if s.class == class {
				out = append(out, s)
			}
		}
		same := out[start:]
		rand.Shuffle(len(same), func(i, j int) { same[i], same[j] = same[j], same[i] })
	}
	return out
}

// lookup asks the servers in turn until one answers.
func (g *servers) lookup(parent context.Context, q *querySpec, key string) (string, bool, error) {
	ctx, cancel := context.WithTimeout(parent, lookupTime)
	defer cancel()
	var failed error
	for _, s := range g.order() {
		if !s.admit() {
			continue
		}
		a, err := s.ask(ctx, q, key)
		if err == nil {
			return a.result()
		}
		if parent.Err() != nil {
			s.release()
			return "", false, err
		}
		failed = err
	}
	if failed == nil {
		failed = g.allDown()
	}
	return "", false, failed
}

// allDown is the error when no server was tried.
func (g *servers) allDown() error {
	err := errAllDown
	for _, s := range g.list {
		s.mu.Lock()
		if s.cause != nil {
			err = fmt.Errorf("%w; %w", errAllDown, s.cause)
		}
		s.mu.Unlock()
	}
	return err
}

// close closes the connections; those in use are closed when their lookup ends.
func (g *servers) close() {
	for _, s := range g.list {
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
		s.flush()
	}
}

// admit tells whether the server may be tried now. One lookup alone tries a server
// that was down for its retry_interval; the others pass it by meanwhile.
func (s *server) admit() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down.IsZero() {
		return true
	}
	now := time.Now()
	if now.Before(s.down) {
		return false
	}
	s.down = now.Add(s.retry)
	return true
}

// fail takes the server out of use for its retry_interval.
func (s *server) fail(err error) {
	s.mu.Lock()
	s.down, s.cause = time.Now().Add(s.retry), err
	s.mu.Unlock()
	s.flush()
}

// release takes back what admit did, when the lookup found out nothing.
func (s *server) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.down.IsZero() {
		s.down = time.Now()
	}
}

// ask looks a key up in this server, and judges the server by what happens.
func (s *server) ask(ctx context.Context, q *querySpec, key string) (*queryAnswer, error) {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return nil, fmt.Errorf("%s: %w", s.name, errBusy)
	}
	for first := true; ; first = false {
		use, used, err := s.session(ctx, first)
		if err != nil {
			err = fmt.Errorf("connect to %s: %w", s.name, err)
		} else {
			var a *queryAnswer
			a, err = s.askSession(ctx, use, q, key)
			if a != nil || errors.As(err, new(refusal)) {
				return a, err
			}
		}
		late := errors.Is(err, context.DeadlineExceeded)
		switch {
		case errors.Is(ctx.Err(), context.Canceled):
			return nil, err
		case late && use != nil || used:
			// Slow is not dead: it may have been one hard query. The connections
			// are given up, so that the next lookup finds out. One that was not
			// used for a while may have been closed by the server.
			s.flush()
		case !first || !s.twice || late:
			s.fail(err)
		}
		if first && !late && (used || s.twice) {
			continue
		}
		q.warn("%s: %v", q.spec, err)
		return nil, err
	}
}

// errNonsense is the cause when a driver came to grief over what the server sent.
var errNonsense = errors.New("the server does not speak the protocol")

// contain turns a panic of a driver into an error: drivers trust their server more
// than we do.
func contain(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("%w: %v", errNonsense, r)
	}
}

// askSession asks with the time of one query. The session is kept when it is in
// order after that, and closed when not.
func (s *server) askSession(ctx context.Context, use session, q *querySpec, key string) (*queryAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTime)
	defer cancel()
	a := q.answerTo(key)
	err := lateError(ctx, askContained(ctx, use, q, a))
	if err == nil {
		s.keep(use)
		return a, nil
	}
	if errors.As(err, new(refusal)) {
		s.keep(use)
	} else {
		use.close()
	}
	return nil, fmt.Errorf("query failed: %s: %w", s.name, err)
}

// askContained asks, whatever the driver does.
func askContained(ctx context.Context, use session, q *querySpec, a *queryAnswer) (err error) {
	defer contain(&err)
	return use.ask(ctx, q, a.key, a)
}

// lateError adds to an error that the time was over, when it was.
func lateError(ctx context.Context, err error) error {
	if late := ctx.Err(); err != nil && late != nil && !errors.Is(err, late) {
		return fmt.Errorf("%w: %w", late, err)
	}
	return err
}

// session returns a connection: one that was used before, when such may be, or a
// new one.
func (s *server) session(ctx context.Context, old bool) (use session, used bool, err error) {
	s.mu.Lock()
	if n := len(s.unused); n > 0 && old {
		use = s.unused[n-1].session
		s.unused[n-1] = unusedSession{}
		s.unused = s.unused[:n-1]
	}
	s.mu.Unlock()
	if use != nil {
		return use, true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	use, err = s.dial(ctx)
	return use, false, lateError(ctx, err)
}

// keep stores a connection for the next lookup. The server is well.
func (s *server) keep(use session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down, s.cause = time.Time{}, nil
	if s.closed {
		use.close()
		return
	}
	s.unused = append(s.unused, unusedSession{use, time.Now()})
	if s.timer == nil {
		s.timer = time.AfterFunc(s.idle, s.expire)
	}
}

// expire closes the connections that were idle for the idle_interval, and comes
// again for the rest. The oldest are first.
func (s *server) expire() {
	s.mu.Lock()
	n, now := 0, time.Now()
	for n < len(s.unused) && now.Sub(s.unused[n].since) >= s.idle {
		n++
	}
	old := append([]unusedSession(nil), s.unused[:n]...)
	s.unused = append(s.unused[:0], s.unused[n:]...)
	s.timer = nil
	if len(s.unused) > 0 {
		s.timer = time.AfterFunc(s.idle-now.Sub(s.unused[0].since), s.expire)
	}
	s.mu.Unlock()
	for _, u := range old {
		u.close()
	}
}

// flush closes all connections that are not in use.
func (s *server) flush() {
	s.mu.Lock()
	old := s.unused
	s.unused = nil
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	s.mu.Unlock()
	for _, u := range old {
		u.close()
	}
}

// pools are the servers of one Set, so that tables with the same login share
// connections.
type pools struct {
	mu   sync.Mutex
	open map[string]*sharedServers
}

// sharedServers counts the tables that use servers.
type sharedServers struct {
	*servers
	users int
}

// get returns the servers of a login, made by make when they are new. done must be
// called once when they are no longer needed.
func (p *pools) get(login string, make func() *servers) (g *servers, done func()) {
	if p == nil {
		g = make()
		return g, g.close
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	shared := p.open[login]
	if shared == nil {
		shared = &sharedServers{servers: make()}
		p.open[login] = shared
	}
	shared.users++
	return shared.servers, func() { p.put(login, shared) }
}

// put gives back what get returned.
func (p *pools) put(login string, shared *sharedServers) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if shared.users--; shared.users == 0 {
		delete(p.open, login)
		shared.close()
	}
}

// maxCause bounds the text of a database's error in ours.
const maxCause = 300

// tame is the text of an error of a database, fit for a log line: the database may
// be a liar, and its text may quote the key.
func tame(err error) string {
	text := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(clip(err.Error(), maxCause), "?"))
	return strings.Join(strings.Fields(text), " ")
}
