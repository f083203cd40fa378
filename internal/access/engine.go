package access

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"postroad/internal/dns"
	"postroad/internal/event"
	"postroad/internal/limits"
	"postroad/internal/mail"
	"postroad/internal/policy"
	"postroad/internal/postconf"
	"postroad/internal/rewrite"
	"postroad/internal/table"
	"postroad/internal/verify"
)

// Resolver is what access control asks of the DNS. *dns.Resolver is one.
type Resolver interface {
	MX(ctx context.Context, domain string) ([]dns.MXRecord, dns.Info, error)
	Addrs(ctx context.Context, host string, family dns.Family) ([]netip.Addr, dns.Info, error)
	NS(ctx context.Context, domain string) ([]string, dns.Info, error)
	TXT(ctx context.Context, name string) ([]string, dns.Info, error)
	// Native looks into the hosts file too.
	Native(ctx context.Context, host string, family dns.Family) ([]netip.Addr, error)
}

// Verifier tells whether an address can be delivered to. *verify.Cache is one.
type Verifier interface {
	// Ask waits up to wait for the result of a probe.
	Ask(ctx context.Context, addr mail.Address, wait time.Duration) (verify.Status, string, error)
}

// Limiter counts what clients do. *limits.Counters is one.
type Limiter interface {
	Ask(rule, key string, windows []limits.Window, n int, count bool) (used []limits.Use, full *limits.Use)
}

// Deps are the rooms that access control uses.
type Deps struct {
	Tables  *table.Set
	Rewrite *rewrite.Engine
	DNS     Resolver
	// Verify answers for reject_unverified_sender and its like; nil makes them
	// defer.
	Verify Verifier
	// Limits counts for postroad_limit; nil makes it defer.
	Limits Limiter
	// Log gets what concerns no session; Request.Log the rest.
	Log *event.Logger
}

// noResolver stands for a DNS that is not there: it never knows anything.
type noResolver struct{}

var errNoResolver = errors.New("there is no resolver")

func (noResolver) MX(context.Context, string) ([]dns.MXRecord, dns.Info, error) {
	return nil, dns.Info{}, errNoResolver
}

func (noResolver) Addrs(context.Context, string, dns.Family) ([]netip.Addr, dns.Info, error) {
	return nil, dns.Info{}, errNoResolver
}

// NS implements Resolver.
func (noResolver) NS(context.Context, string) ([]string, dns.Info, error) {
	return nil, dns.Info{}, errNoResolver
}

// TXT implements Resolver.
func (noResolver) TXT(context.Context, string) ([]string, dns.Info, error) {
	return nil, dns.Info{}, errNoResolver
}

// Native implements Resolver.
func (noResolver) Native(context.Context, string, dns.Family) ([]netip.Addr, error) {
	return nil, errNoResolver
}

// errNoVerify stands for the answer of a verify service that is not there.
var errNoVerify = errors.New("there is no verify service")

// Engine is the access control of one smtpd service. It never changes after
// New; any number of goroutines may use it.
type Engine struct {
	set   Settings
	deps  Deps
	words map[string]row
	// results are the actions of access(5).
	results map[string]func(*Checker, *action) outcome

	client, helo, sender, relay, recipient *list
	data, endOfData, etrn, rewriteClients  *list
	classes                                map[string]*list
	// unsafe tells that no list keeps strangers from relaying.
	unsafe bool

	mynetworks *table.MatchList
	permitLog  *table.MatchList
	loginMaps  *table.Maps
	certMaps   *table.Maps
	// dotParents tells that access tables want ".parent" keys.
	dotParents bool
	// noUserChecks is receive_override_options=no_unknown_recipient_checks.
	noUserChecks bool
	search       table.AddressSearch

	// expansion has the characters that the value of a $name may have.
	expansion      *postconf.Charset
	rblReplies     *table.Maps
	backupNetworks *table.MatchList
	// family is what inet_protocols leaves.
	family dns.Family
	// policies are the policy servers by the argument of check_policy_service,
	// requests the buffers to ask them.
	policies    map[string]*policy.Client
	requests    sync.Pool
	probeSender verify.Sender
	// stressPolls is address_verify_poll_count while the service is busy.
	stressPolls int
}

// New compiles the restrictions that a service sees.
func New(cfg *postconf.View, deps Deps) (*Engine, []postconf.Problem) {
	if deps.DNS == nil {
		deps.DNS = noResolver{}
	}
	e := &Engine{deps: deps, words: map[string]row{}, classes: map[string]*list{}}
	for _, r := range rows() {
		e.words[r.name] = r
	}
	e.results = map[string]func(*Checker, *action) outcome{}
	for _, r := range results() {
		e.results[r.name] = r.run
	}
	c := &compiler{e: e, cfg: cfg, problems: cfg.Decode(&e.set)}
	c.compile()
	return e, c.problems
}

// Request is what one SMTP command tells.
type Request struct {
	// Session is the peer. QueueID is empty before there is one.
	Session *mail.Session
	QueueID mail.QueueID
	// Log speaks as the session; nil says nothing.
	Log *event.Logger
	// Stage is the command as the log names it, "EHLO" or "END-OF-MESSAGE";
	// empty stands for the name that goes with the method of Checker.
	Stage string
	// Helo is the argument of HELO or EHLO, empty before one was accepted.
	Helo string
	// Sender is in internal form; HasSender tells it from no MAIL command.
	Sender    mail.Address
	HasSender bool
	// Recipient is in internal form: that of RCPT or VRFY, and at DATA and
	// later that of the only recipient.
	Recipient mail.Address
	// RcptCount is the number of recipients accepted so far, Size what MAIL
	// announced or, at the end of data, what came.
	RcptCount int
	Size      int64
	// Instance names the transaction for policy servers; Stress tells that the
	// service is busy.
	Instance Instance
	Stress   bool
	// ETRNDomain is the argument of ETRN.
	ETRNDomain string
	// Pipelined tells whether the client has sent more without waiting.
	Pipelined func() bool
}

// Actions are what access tables do to a message beside permitting it.
type Actions struct {
	Hold, Discard bool
	// Filter is "transport:nexthop", empty for none.
	Filter   string
	Redirect mail.Address
	BCC      []mail.Address
	// Prepend has header fields without line end.
	Prepend []string
}

// Begin returns the Checker of a new session.
func (e *Engine) Begin() *Checker { return &Checker{e: e} }

// logsPermit tells whether smtpd_log_access_permit_actions has an action.
func (e *Engine) logsPermit(ctx context.Context, action string) bool {
	hit, err := e.permitLog.Match(ctx, action)
	return hit && err == nil
}

// parents tells whether a parameter is in parent_domain_matches_subdomains.
func (e *Engine) parents(param string) bool {
	return slices.Contains(e.set.ParentMatches, param)
}
