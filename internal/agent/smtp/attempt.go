package smtp

import (
	"context"
	"errors"
	"slices"
	"time"

	"postroad/internal/agent"
	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/table"
)

// rcptState is where a recipient stands.
type rcptState uint8

const (
	rcptOpen rcptState = iota
	// rcptKept waits for another server, rcptDone has its result.
	rcptKept
	rcptDone
)

// attempt is one Delivery under way.
type attempt struct {
	c       *Client
	d       *agent.Delivery
	results []mail.Result
	state   []rcptState
	// left counts recipients without result, open those not kept either.
	left, open int
	// why is the last failure, for the recipients that are left over.
	why *failure
	// finalSite and finalServer tell that nothing else can be tried, so that a
	// temporary failure is the result.
	finalSite, finalServer bool
	site                   *site
	// tlsText and requireText say what became of TLS and of REQUIRETLS.
	tlsText, requireText string
	connected            time.Time
	retryPlain           bool
	// cur is the session in use, so that a panic does not leave it open.
	cur *session
	// todo are the recipients of the transaction under way.
	todo []int
}

func newAttempt(c *Client, d *agent.Delivery) *attempt {
	n := len(d.Recipients)
	return &attempt{c: c, d: d, results: make([]mail.Result, 0, n), state: make([]rcptState, n), left: n, open: n}
}

// run walks over the sites of the next hop.
func (a *attempt) run(ctx context.Context) {
	sites, err := parseSites(string(a.d.Route.Nexthop), a.c.Settings.TCPPort, a.c.LMTP)
	if err != nil {
		a.d.Logger.Warnf("%s: %v", a.d.Envelope.ID, err)
		a.bulkFail(nil, newFailure("4.3.5", "mail system configuration error"), failFinal)
		return
	}
	primary := len(sites)
	if sites[0].path == "" {
		sites = append(sites, a.c.fallback...)
	}
	last := 0
	for i := range sites {
		last = i
		a.site = &sites[i]
		a.finalSite = i == len(sites)-1
		a.trySite(ctx, i == 0)
		if a.left == 0 {
			return
		}
		if ctx.Err() != nil {
			a.bulkFail(nil, interrupted, failFinal)
			return
		}
		if a.finalSite {
			break
		}
	}
	a.leftOver(sites[0].name, last >= primary)
}

// interrupted is the failure of recipients that were not done at shutdown.
var interrupted = newFailure("4.3.2", "delivery interrupted: mail system is shutting down")

// leftOver answers for recipients that no server answered for.
func (a *attempt) leftOver(first string, onFallback bool) {
	f := a.why
	switch {
	case f == nil:
		f = newFailure("4.3.0", "server unavailable or unable to receive mail")
	case f.soft():
	case onFallback:
		// What may be a mistake in our own configuration never bounces mail.
		a.d.Logger.Warnf("%s_fallback_relay configuration problem", a.c.proto())
		f.dsn = "4.3.5"
	case !a.c.LMTP && a.c.Common.RelayHost != "" && first == a.c.Common.RelayHost:
		a.d.Logger.Warnf("relayhost configuration problem")
		f.dsn = "4.3.5"
	}
	a.bulkFail(nil, f, failFinal|failThrottle)
}

func (c *Client) proto() string {
	if c.LMTP {
		return "lmtp"
	}
	return "smtp"
}

// trySite tries the servers of a site until no recipient is left.
func (a *attempt) trySite(ctx context.Context, first bool) {
	list, fail := a.targets(ctx)
	if fail != nil {
		if fail.warning != "" {
			a.d.Logger.Warnf("%s", fail.warning)
		}
		a.why = fail
		return
	}
	sessions, tried := 0, 0
	visited := target{}
	if first && a.mayCache() {
		if t, used := a.reuse(ctx, list); used {
			visited = t
			sessions, tried = 1, 1
		}
		if a.left == 0 || ctx.Err() != nil {
			return
		}
	}
	for i := 0; i < len(list) && a.left > 0 && ctx.Err() == nil; i++ {
		t := list[i]
		if tried > 0 && t == visited {
			continue
		}
		if tried++; tried == a.c.Settings.MXAddressLimit {
			list = list[:i+1]
		}
		met := a.tryServer(ctx, t, i == len(list)-1, sessions+1 == a.c.Settings.MXSessionLimit)
		if a.retryPlain {
			// The same server once more, without TLS.
			i, tried = i-1, tried-1
			continue
		}
		if met {
			sessions++
		}
		if sessions > 0 && sessions == a.c.Settings.MXSessionLimit {
			return
		}
	}
}

// targets finds the servers of the site.
func (a *attempt) targets(ctx context.Context) ([]target, *failure) {
	if a.site.path != "" {
		a.finalSite = true
		return []target{{host: a.c.Common.MyHostname, path: a.site.path, best: true}}, nil
	}
	l := a.c.look
	if !a.c.DNSFilter.Empty() {
		l.dns = &filteredDNS{l.dns, &table.DNSFilter{Maps: a.c.DNSFilter, Log: a.d.Logger}}
	}
	// A port of its own is no mail exchanger in the sense of RFC 5321 5.1.
	l.loopTest = !a.c.LMTP && a.site.port == 25
	list, final, fail := l.targets(ctx, *a.site)
	a.finalSite = a.finalSite || final
	return list, fail
}

// tryServer opens a session and delivers in it; met tells that the session got
// as far as a transaction. lastServer and lastSession tell that no server
// comes after this one.
func (a *attempt) tryServer(ctx context.Context, t target, lastServer, lastSession bool) (met bool) {
	plain := a.retryPlain
	a.retryPlain = false
	pol, fail := a.policy(ctx, t)
	if fail != nil {
		dest, host := a.site.name, t.host
		if t.path != "" {
			dest, host = t.host, t.path
		}
		what := "lookup"
		if pol.require != requireOff {
			what = "lookup error"
		}
		a.d.Logger.Warnf("TLS policy %s for %s/%s: %s", what, dest, host, fail.text)
		a.why = fail
		return false
	}
	if plain {
		pol.fallBack()
	}
	s, fail := a.c.connect(ctx, t)
	if fail != nil {
		a.why = fail
		a.d.Logger.Emit(event.ServerUnreachable{Text: fail.text})
		return false
	}
	a.cur = s
	s.pol, s.key = pol, a.cacheKey()
	s.log, s.id = a.d.Logger, a.d.Envelope.ID
	a.finalServer = a.finalSite && lastServer
	// A context that ends closes the connection, which wakes whatever waits.
	stop := context.AfterFunc(ctx, s.abandon)
	defer stop()
	if !a.hello(ctx, s) {
		a.release(s, false)
		return false
	}
	a.finalServer = a.finalSite && (lastServer || lastSession)
	a.connected = time.Now()
	a.transact(ctx, s)
	a.release(s, true)
	return true
}

// reuse delivers over a connection of the cache, if there is one. A connection
// that turns out dead before it said anything is passed over. list are the
// servers of the site.
func (a *attempt) reuse(ctx context.Context, list []target) (target, bool) {
	for {
		s := a.c.pool.get(a.cacheKey())
		if s == nil {
			return target{}, false
		}
		stop := context.AfterFunc(ctx, s.abandon)
		a.connected = time.Now()
		a.finalServer = a.finalSite && !slices.ContainsFunc(list, func(t target) bool { return t != s.t })
		a.cur, a.tlsText, a.requireText = s, s.tlsText, s.requireText
		s.log, s.id = a.d.Logger, a.d.Envelope.ID
		dead := a.transact(ctx, s)
		a.retryPlain = false
		stop()
		a.release(s, !dead)
		if !dead {
			return s.t, true
		}
		if ctx.Err() != nil {
			return target{}, false
		}
	}
}

// release puts a session into the cache or ends it, and opens the recipients
// that were kept for another server.
func (a *attempt) release(s *session, good bool) {
	a.cur = nil
	a.c.giveBuf(s)
	if good && s.cacheable() && a.wantCache(s) {
		a.c.pool.put(s)
	} else {
		s.quit()
	}
	for i, st := range a.state {
		if st == rcptKept {
			a.state[i] = rcptOpen
		}
	}
	a.open = a.left
}

// mayCache tells whether an open connection to this site may be used.
func (a *attempt) mayCache() bool {
	if a.c.Settings.SASLEnable && a.c.Settings.SASLSenderDependent {
		// The password belongs to the sender, and so does the connection.
		return false
	}
	return a.c.Settings.CacheOnDemand && a.d.Reuse.Load || a.cacheAlways()
}

// cacheAlways tells whether the configuration names the site as one whose
// connections are always kept.
func (a *attempt) cacheAlways() bool {
	if a.c.CacheAlways == nil {
		return false
	}
	always, err := a.c.CacheAlways.Match(context.Background(), a.site.host)
	return err == nil && always
}

// wantCache tells whether the connection is worth keeping.
func (a *attempt) wantCache(s *session) bool {
	set := &a.c.Settings
	if !a.mayCache() || s.tls != nil && !set.TLSConnectionReuse && !s.pol.reuse {
		return false
	}
	if set.ReuseCountLimit > 0 && s.uses >= set.ReuseCountLimit {
		return false
	}
	if set.ReuseTimeLimit > 0 && time.Since(s.opened) >= set.ReuseTimeLimit {
		return false
	}
	return set.CacheOnDemand && a.d.Reuse.Store || a.cacheAlways()
}

// failFlags say what a failure of all recipients means.
type failFlags uint8

const (
	// failThrottle is trouble with the server itself, failFinal rules out
	// other servers, failNextServer makes even a permanent failure wait for them.
	failThrottle failFlags = 1 << iota
	failFinal
	failNextServer
)

// bulkFail answers for all open recipients, or keeps them for another server
// when f is temporary and there is one.
func (a *attempt) bulkFail(s *session, f *failure, flags failFlags) {
	final := a.finalServer || flags&failFinal != 0
	if s != nil && flags&(failThrottle|failNextServer) != 0 {
		s.noCache = true
	}
	if a.left == 0 {
		return
	}
	keep := !final && (f.soft() || flags&failNextServer != 0)
	if keep {
		a.why = f
		a.d.Logger.Emit(event.ServerSkipped{ID: a.d.Envelope.ID, Text: f.text})
	}
	if a.connected.IsZero() {
		a.connected = time.Now()
	}
	for i, st := range a.state {
		switch {
		case st == rcptDone, st == rcptKept && flags&failFinal == 0:
		case keep && st == rcptOpen:
			a.state[i] = rcptKept
			a.open--
		default:
			r := a.result(i, s, f)
			r.SiteFailure = flags&failThrottle != 0 && f.soft()
		}
	}
}

// rcptFail answers for one recipient, or keeps it for another server.
func (a *attempt) rcptFail(i int, s *session, f *failure) {
	if a.state[i] != rcptOpen {
		return
	}
	if f.soft() && !a.finalServer {
		a.why = f
		a.d.Logger.Emit(event.ServerSkipped{ID: a.d.Envelope.ID, Text: f.text})
		a.state[i] = rcptKept
		a.open--
		return
	}
	a.result(i, s, f)
}

// result settles recipient i with a failure and returns the result for more.
func (a *attempt) result(i int, s *session, f *failure) *mail.Result {
	r := a.settle(i, s)
	r.Enhanced, r.Text = f.dsn, f.text
	r.Outcome = mail.Bounced
	if f.soft() {
		r.Outcome = mail.Deferred
	}
	if a.probe() {
		r.Outcome = mail.Undeliverable
	}
	if f.mta != "" {
		r.RemoteMTA = f.mta
	}
	if f.diag != "" {
		r.DiagnosticType, r.Diagnostic = "smtp", f.diag
	}
	return r
}

// settle takes recipient i off the list and returns its result to fill in.
func (a *attempt) settle(i int, s *session) *mail.Result {
	if a.state[i] == rcptOpen {
		a.open--
	}
	a.state[i] = rcptDone
	a.left--
	a.results = append(a.results, mail.Result{Index: i, Connected: a.connected})
	r := &a.results[len(a.results)-1]
	a.tlsFeatures(r)
	if s != nil {
		r.Relay, r.ConnUse = s.relay, s.uses
	}
	return r
}

// sent settles recipient i with the server's 2xx reply.
func (a *attempt) sent(i int, s *session, enhanced, text string) {
	r := a.settle(i, s)
	r.Outcome, r.Enhanced, r.Text = mail.Sent, enhanced, text
	r.RemoteMTA, r.DiagnosticType, r.Diagnostic = s.t.host, "smtp", text
	if a.probe() {
		r.Outcome = mail.Deliverable
		return
	}
	// RFC 3461 5.2.2: a server with DSN reports success itself; for one without
	// it the message leaves the world in which reports are promised.
	r.DSNPassed = s.feat&featDSN != 0
	r.Relayed = !(a.c.LMTP && a.c.Common.AssumeFinal)
}

// probe tells that nothing is delivered.
func (a *attempt) probe() bool { return a.d.Flags&agent.Verify != 0 || a.d.Envelope.Probe }

// ioFail ends a session after an I/O error.
func (a *attempt) ioFail(ctx context.Context, s *session, err error, where string) {
	s.broken = true
	switch {
	case ctx.Err() != nil:
		a.bulkFail(s, interrupted, failFinal)
		return
	case errors.Is(err, errReplyFilter):
		a.bulkFail(s, newFailure("4.3.0", err.Error()), failFinal)
		return
	case err == errReplyTooBig:
		a.bulkFail(s, newFailure("4.5.0", "server "+s.name+" sent a reply that is too long while "+where), failThrottle)
		return
	}
	f := newFailure("4.4.2", "lost connection with "+s.name+" while "+where)
	if isTimeout(err) {
		f.text = "conversation with " + s.name + " timed out while " + where
	}
	if s.tls != nil && a.open > 0 && a.mayFallBack(s) {
		a.retry()
	}
	a.bulkFail(s, f, failThrottle)
}

// mayFallBack tells whether a TLS failure may be answered with plaintext: at
// level may, and only when the message has waited once already.
func (a *attempt) mayFallBack(s *session) bool {
	waited := a.d.Active.Sub(a.d.Envelope.Arrived) >= a.c.Common.MinimalBackoff
	return s.pol.level == LevelMay && s.pol.require < requireStartTLS && s.user == "" && (waited || a.probe())
}

// retry asks for the same server without TLS, so that no failure is final yet.
func (a *attempt) retry() { a.retryPlain, a.finalServer = true, false }
