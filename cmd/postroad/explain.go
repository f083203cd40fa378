package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"postroad/internal/access"
	"postroad/internal/cleanup"
	"postroad/internal/cli"
	"postroad/internal/dns"
	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/master"
	"postroad/internal/postconf"
	"postroad/internal/privdeliver"
	"postroad/internal/rewrite"
	"postroad/internal/smtpd"
	"postroad/internal/table"
	"postroad/internal/verify"
)

// explainTimeout bounds one explanation: tables and the DNS may be slow.
const explainTimeout = 2 * time.Minute

// explanation is an explanation being made.
type explanation struct {
	s     *server
	gen   *generation
	svc   *postconf.Service
	view  *postconf.View
	spool *notebook
	log   *event.Logger
	said  *bytes.Buffer
	// srv is the SMTP server, which serves nobody; set is what concerns messages.
	srv    *smtpd.Server
	engine *access.Engine
	set    sessionSettings
	notes  []string
	// early is the reply to MAIL when the session is not such as it must be.
	early string
}

// note adds what the restrictions do not tell, once.
func (x *explanation) note(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(x.notes, text) {
		x.notes = append(x.notes, text)
	}
}

// explain builds the server that a configuration makes, as far as it decides, and
// asks it about a transaction. Nothing is queued and nothing is sent, and nobody is
// asked who would remember it (policy servers, filters, address probes); tables and
// the DNS are asked as for real mail.
func explain(ctx context.Context, cfg *postconf.Config, q *cli.Question) (*cli.Explanation, error) {
	ctx, cancel := context.WithTimeout(ctx, explainTimeout)
	defer cancel()
	x := &explanation{spool: &notebook{}, said: &bytes.Buffer{}}
	log, err := event.OpenLog(event.LogOptions{File: "/dev/stdout", Stdout: x.said})
	if err != nil {
		return nil, err
	}
	rt := &master.Runtime{Log: log, Folded: true, Open: os.Open}
	x.s = &server{rt: rt, rates: smtpd.NewRates(), verify: verify.New(verify.NewMemory())}
	if x.s.resolver, err = dns.FromResolvConf("/etc/resolv.conf"); err != nil {
		return nil, err
	}
	b := &builder{rt: rt, resolver: x.s.resolver, users: &privdeliver.Users{}, spool: x.spool, verify: x.s.verify}
	if x.gen, err = b.build(&master.Generation{Number: 1, Config: cfg}); err != nil {
		return nil, err
	}
	defer x.gen.close()
	x.s.gen.Store(x.gen)
	var gate *postconf.Service
	if x.svc, gate = smtpService(cfg, q.Service); x.svc == nil {
		return nil, fmt.Errorf("master.cf has no SMTP server %q", q.Service)
	}
	if gate != nil {
		x.note("clients come through %s (%v), which is not asked", gate.ID(), gate.Origin)
	}
	x.view = cfg.View(x.svc)
	x.log = event.NewLogger(log, "explain", 1)
	out, err := x.run(ctx, q)
	if closeErr := log.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, err
	}
	out.Warnings = warnings(x.said.String())
	return out, nil
}

// smtpService finds a service by name; without one the first SMTP server of the
// network. gate is the postscreen that clients of it meet first.
func smtpService(cfg *postconf.Config, name string) (svc, gate *postconf.Service) {
	for _, svc := range cfg.Active() {
		if svc.Name != name && (name != "" || svc.Type != "inet") {
			continue
		}
		switch svc.Program() {
		case "smtpd":
			return svc, nil
		case "postscreen":
			behind, err := cfg.View(svc).Value("smtpd_service_name")
			if next := cfg.Service(behind, "pass"); err == nil && next != nil && next.Program() == "smtpd" {
				return next, svc
			}
		}
	}
	return nil, nil
}

// maxWarnings bounds what the log said while the explanation was made.
const maxWarnings = 100

// warnings takes the warnings out of log lines.
func warnings(log string) []string {
	var out []string
	for line := range strings.Lines(log) {
		_, text, ok := strings.Cut(line, "]: ")
		if !ok || len(out) >= maxWarnings {
			continue
		}
		text = strings.TrimSpace(text)
		if strings.HasPrefix(text, "warning: ") || strings.HasPrefix(text, "error: ") || strings.HasPrefix(text, "fatal: ") {
			_, text, _ = strings.Cut(text, ": ")
			out = append(out, text)
		}
	}
	return out
}

func (x *explanation) run(ctx context.Context, q *cli.Question) (*cli.Explanation, error) {
	router := x.gen.rewrite
	if len(x.svc.Overrides) > 0 {
		own, problems := rewrite.New(x.view, x.gen.tables, x.log)
		if postconf.HasFatal(problems) {
			return nil, errors.New(firstFatal(problems))
		}
		router = own
	}
	engine, problems := access.New(x.view, access.Deps{
		Tables: x.gen.tables, Rewrite: router, DNS: x.s.resolver, Log: x.log, Verify: x.s.verifier(x.gen, x.view), Limits: &knownLimits{x: x},
	})
	if postconf.HasFatal(problems) {
		return nil, errors.New(firstFatal(problems))
	}
	srv, problems := smtpd.FromView(x.view, x.gen.tables, x.s.rt.Log, x.s.readFile)
	problems = append(problems, x.view.Decode(&x.set)...)
	if postconf.HasFatal(problems) {
		return nil, errors.New(firstFatal(problems))
	}
	x.srv, x.engine = srv, engine
	peer := x.peer(ctx, q)
	x.early = x.session(peer, q)
	out := &cli.Explanation{
		Service: x.svc.ID() + " (" + x.svc.Origin.String() + ")", Client: peer.Client.String(), Limits: x.limits(),
	}
	for n, rcpt := range q.Recipients {
		one := cli.Explained{Recipient: string(rcpt)}
		req := x.access(ctx, engine.Begin(), peer, q, n, &one)
		if one.Accepted {
			x.envelope(ctx, peer, req, &one)
		}
		out.Recipients = append(out.Recipients, one)
	}
	out.Notes = x.notes
	return out, nil
}

// peer is the session of the question.
func (x *explanation) peer(ctx context.Context, q *cli.Question) *mail.Session {
	s := &mail.Session{Service: x.svc.Name, Helo: q.Helo, ESMTP: true, Connected: time.Now()}
	s.Client = mail.Peer{Name: "unknown", ReverseName: "unknown", NameStatus: mail.NameUnknown, ReverseStatus: mail.NameUnknown, Addr: q.ClientAddr}
	switch q.ClientName {
	case "":
		smtpd.LookupName(ctx, names{x.s.resolver}, &s.Client, x.log)
	case "unknown":
	default:
		s.Client.Name, s.Client.ReverseName = q.ClientName, q.ClientName
		s.Client.NameStatus, s.Client.ReverseStatus = mail.NameOK, mail.NameOK
	}
	if q.User != "" {
		s.SASL = &mail.SASL{Method: "PLAIN", Username: q.User}
	}
	if q.TLS {
		s.TLS = explainedTLS()
	}
	return s
}

// access asks the restriction lists about one recipient. It returns the request,
// whose addresses are those that the server has read.
func (x *explanation) access(ctx context.Context, c *access.Checker, peer *mail.Session, q *cli.Question, n int, one *cli.Explained) (req *access.Request) {
	c.Trace(func(s access.Step) { one.Steps = append(one.Steps, x.step(&s)) })
	req = &access.Request{
		Session: peer, Log: x.log, Helo: q.Helo, Sender: q.Sender, HasSender: true, Recipient: q.Recipients[n], RcptCount: n,
		Size: q.Size, Pipelined: func() bool { return false },
	}
	for _, stage := range []struct {
		name string
		ask  func(context.Context, *access.Request) mail.Verdict
	}{
		{"CONNECT", c.Client}, {"HELO", c.Helo}, {"MAIL", c.Sender}, {"RCPT", c.Recipient}, {"DATA", c.Data}, {"END-OF-MESSAGE", c.EndOfData},
	} {
		if stage.name == "HELO" && q.Helo == "" {
			continue
		}
		req.Stage = stage.name
		if reply := x.command(ctx, req); reply != "" {
			one.Reply = reply + " (at " + stage.name + ")"
			return req
		}
		v := stage.ask(ctx, req)
		if v.Action == mail.Reject || v.Action == mail.Disconnect {
			one.Reply = v.Status.String() + " (at " + stage.name + ")"
			return req
		}
		if stage.name == "RCPT" {
			req.RcptCount++
		}
	}
	one.Accepted, one.Reply = true, "250 2.1.5 Ok"
	if a := actionText(c.Actions()); a != "" {
		one.Reply += " (" + a + ")"
	}
	return req
}

// actionText says what access tables would do to the message.
func actionText(a access.Actions) string {
	var out []string
	add := func(on bool, text string) {
		if on {
			out = append(out, text)
		}
	}
	add(a.Hold, "held")
	add(a.Discard, "discarded")
	add(a.Filter != "", "filter "+a.Filter)
	add(a.Redirect != "", "redirected to "+string(a.Redirect))
	for _, bcc := range a.BCC {
		add(true, "copy to "+string(bcc))
	}
	for _, h := range a.Prepend {
		add(true, "header "+h)
	}
	return strings.Join(out, "; ")
}

func (x *explanation) step(s *access.Step) cli.ExplainStep {
	out := cli.ExplainStep{Depth: s.Depth, List: s.List, Index: s.Index, Rule: s.Rule, Key: s.Key, Result: s.Result, Outcome: s.Outcome}
	if s.Status.Code != 0 {
		out.Reply = s.Status.String()
	}
	out.File, out.Line = x.origin(s.List)
	return out
}

// origin is where a parameter is set.
func (x *explanation) origin(param string) (file string, line int) {
	_, o, set := x.view.Raw(param)
	if _, known := postconf.Find(param); set || known {
		return o.File, o.Line
	}
	return "", 0
}

// watch returns a context in which what tables and lists find goes to a list.
func (x *explanation) watch(ctx context.Context, found *[]cli.ExplainedHit) context.Context {
	return table.Watch(ctx, func(param string, hit table.Hit) {
		one := cli.ExplainedHit{Parameter: param, Table: hit.Table, Key: hit.Key, Value: hit.Value}
		one.File, one.Line = x.origin(param)
		if len(*found) < maxWarnings && !slices.Contains(*found, one) {
			*found = append(*found, one)
		}
	})
}

// envelope rewrites and expands as cleanup would, and finds the routes.
func (x *explanation) envelope(ctx context.Context, peer *mail.Session, asked *access.Request, one *cli.Explained) {
	rcpt := asked.Recipient
	stage, err := x.gen.cleaner(x.view)
	if err != nil {
		one.Ends = append(one.Ends, cli.ExplainedEnd{Address: string(rcpt), Error: err.Error()})
		return
	}
	opt := cleanup.Options{
		Origin: mail.OriginSMTP, Session: peer, Filter: x.set.ContentFilter,
		NoAddressMappings: slices.Contains(x.set.Override, "no_address_mappings"),
	}
	req := &access.Request{Session: peer, Log: x.log, Helo: asked.Helo, Stage: "MAIL", Sender: asked.Sender, HasSender: true}
	if opt.Context, err = x.engine.Begin().RewriteContext(ctx, req); err != nil {
		one.Ends = append(one.Ends, cli.ExplainedEnd{Address: string(rcpt), Error: err.Error()})
		return
	}
	msg, err := stage.Begin(x.watch(ctx, &one.Lookups), opt)
	if err != nil {
		one.Ends = append(one.Ends, cli.ExplainedEnd{Address: string(rcpt), Error: err.Error()})
		return
	}
	defer msg.Abort()
	msg.SetSender(asked.Sender, cleanup.SenderParams{})
	msg.AddRecipient(mail.Recipient{Address: rcpt})
	env := msg.Envelope()
	one.Sender = string(env.Sender)
	one.Rewritten = string(msg.Rewritten())
	if msg.Failed() {
		one.Ends = append(one.Ends, cli.ExplainedEnd{Address: one.Rewritten, Error: "a table does not answer"})
		return
	}
	for _, r := range env.Recipients {
		one.Ends = append(one.Ends, x.end(ctx, env.Sender, r.Address))
	}
}

// end is the route of one address.
func (x *explanation) end(ctx context.Context, sender, rcpt mail.Address) cli.ExplainedEnd {
	var end cli.ExplainedEnd
	route, err := x.gen.rewrite.Resolve(x.watch(ctx, &end.Lookups), sender, rcpt)
	if err != nil {
		end.Address, end.Error = string(rcpt), err.Error()
		return end
	}
	end.Address, end.Class, end.Transport, end.Nexthop = string(route.Recipient), route.Class.String(), string(route.Transport), string(route.Nexthop)
	svc := x.gen.cfg.Service(string(route.Transport), "unix")
	if svc == nil {
		end.Error = "master.cf has no transport " + end.Transport
		return end
	}
	end.Program, end.Origin = svc.Program(), svc.Origin.String()
	if t := x.gen.qmgr.Transports[route.Transport]; t != nil {
		if c, ok := t.Agent.(interface {
			PolicyText(ctx context.Context, nexthop mail.Nexthop) string
		}); ok {
			end.TLS = c.PolicyText(ctx, route.Nexthop)
		}
	}
	return end
}

// limitNames are parameters that bound a message.
var limitNames = []string{
	"message_size_limit", "smtpd_recipient_limit", "smtpd_client_message_rate_limit", "smtpd_client_recipient_rate_limit",
	"smtpd_client_connection_count_limit", "smtpd_client_connection_rate_limit",
}

func (x *explanation) limits() []cli.NamedValue {
	var out []cli.NamedValue
	for _, name := range limitNames {
		if value, err := x.view.Value(name); err == nil {
			out = append(out, cli.NamedValue{Name: name, Value: value})
		}
	}
	return out
}

// notebook is a queue that keeps nothing.
type notebook struct{}

// Begin implements cleanup.Spool.
func (*notebook) Begin() (cleanup.Writer, error) { return &scrap{}, nil }

// scrap is a message that is never committed.
type scrap struct{ size int64 }

// ID implements cleanup.Writer.
func (*scrap) ID() mail.QueueID { return "NOQUEUE" }

// Write implements cleanup.Writer.
func (s *scrap) Write(p []byte) (int, error) {
	s.size += int64(len(p))
	return len(p), nil
}

// Size implements cleanup.Writer.
func (s *scrap) Size() int64 { return s.size }

// Commit implements cleanup.Writer.
func (*scrap) Commit(context.Context, *mail.Envelope) error {
	return errors.New("this message exists in an explanation only")
}

// Abort implements cleanup.Writer.
func (*scrap) Abort() {}
