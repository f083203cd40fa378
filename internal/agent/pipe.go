package agent

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"postroad/internal/mail"
	"postroad/internal/postconf"
	"postroad/internal/privdeliver"
)

// pipe is pipe(8): it hands a message to a command, with all recipients of the
// attempt.
type pipe struct {
	deps *Deps
	set  PipeSettings
	svc  *pipeService
	// name is the name of the service, origin the file that has it, limit how long
	// a command may take.
	name   string
	origin string
	limit  time.Duration
	// fault is why the service cannot work; its mail waits.
	fault error
}

func newPipe(v *postconf.View, deps *Deps) (Agent, []postconf.Problem) {
	a := &pipe{deps: deps, name: v.Service().Name, origin: v.Service().Origin.File}
	problems := v.Decode(&a.set)
	limit, err := v.Duration(a.name + "_time_limit")
	if err != nil {
		problems = append(problems, postconf.Problem{Fatal: true, Text: err.Error()})
	}
	a.limit = limit
	// A stock master.cf has services whose users or programs are not there: that
	// shows when mail comes for one.
	if a.svc, a.fault = readPipe(v.Service().Args); a.fault != nil {
		problems = append(problems, postconf.Problem{Origin: v.Service().Origin, Text: "service " + v.Service().ID() + ": " + a.fault.Error()})
	}
	if a.svc.chroot != "" && a.fault == nil {
		a.fault = fmt.Errorf("chroot=%s is not served", a.svc.chroot)
		problems = append(problems, postconf.Problem{Origin: v.Service().Origin,
			Text: "service " + v.Service().ID() + ": " + a.fault.Error() + ": its mail waits in the queue"})
	}
	return a, problems
}

// Deliver implements Agent.
func (a *pipe) Deliver(ctx context.Context, d *Delivery) []mail.Result {
	res := a.deliver(ctx, d)
	if res.Relay == "" {
		res.Relay = a.name
	}
	return each(d, func(int, *mail.Recipient) mail.Result { return res })
}

func (a *pipe) deliver(ctx context.Context, d *Delivery) mail.Result {
	uid, gid, err := 0, 0, a.fault
	if err == nil {
		uid, gid, err = a.svc.mayRun(a.set.MailOwner, a.set.SetgidGroup, a.deps.Users.Spawn == nil)
	}
	if err != nil {
		d.Logger.Fatalf("%s", err.Error())
		return mail.Result{Enhanced: "4.3.0", Text: "unknown mail transport error", Relay: "none"}
	}
	if res, refused := a.refuse(d); refused {
		return res
	}
	argv, err := a.argv(d)
	if err != nil {
		d.Logger.Warnf("file %s: service %s: %v", a.origin, a.name, err)
		return mail.Result{Enhanced: "4.3.5", Text: configError}
	}
	if d.Flags&Verify != 0 {
		return mail.Result{Outcome: mail.Deliverable, Enhanced: "2.0.0", Text: "delivers to command: " + argv[0]}
	}
	out, err := a.deps.Users.Do(ctx, uid, gid, a.request(d, argv), d.Content.Open)
	if err != nil {
		return mail.Result{Enhanced: "4.3.0", Text: "command execution failed: " + err.Error()}
	}
	announce(d.Logger, &out, "pipe", "pipe_command: ")
	res := commandResult(out, argv[0])
	if res.Outcome == mail.Sent {
		res.Text = "delivered via " + a.name + " service"
		if said := strings.TrimRight(printable(string(out.Output)), " "); said != "" {
			res.Text += " (" + said[:min(len(said), maxEcho)] + ")"
		}
		res.Relayed = !a.svc.flags.final
	}
	return res
}

// maxEcho bounds what the log says of the output of a command that succeeded.
const maxEcho = 100

// refuse is the answer for mail that the command never sees.
func (a *pipe) refuse(d *Delivery) (mail.Result, bool) {
	f := &a.svc.flags
	for _, single := range []struct {
		flag string
		set  bool
	}{{"O", f.originalTo}, {"D", f.deliveredTo}} {
		if single.set && len(d.Recipients) > 1 {
			d.Logger.Warnf("pipe flag `%s' requires %s_destination_recipient_limit = 1", single.flag, a.name)
			return mail.Result{Enhanced: "4.3.5", Text: configError}, true
		}
	}
	if a.svc.size > 0 && d.Envelope.Size > a.svc.size {
		return mail.Result{Outcome: mail.Bounced, Enhanced: "5.2.3", Text: "message too large"}, true
	}
	if !f.deliveredTo {
		return mail.Result{}, false
	}
	before, err := deliveredTo(d.Content)
	if err != nil {
		return mail.Result{Enhanced: "4.3.0", Text: "cannot read the message: " + err.Error()}, true
	}
	rcpt := d.Recipients[0].Address
	if before[strings.ToLower(rcpt.External())] {
		return mail.Result{Outcome: mail.Bounced, Enhanced: "5.4.6", Text: "mail forwarding loop for " + string(rcpt)}, true
	}
	return mail.Result{}, false
}

// request is what runs the command.
func (a *pipe) request(d *Delivery, argv []string) *privdeliver.Request {
	s, f := a.svc, &a.svc.flags
	eol := s.eol
	if eol == "" {
		eol = "\n"
	}
	sender := d.Envelope.Sender.External()
	if sender == "" {
		sender = s.nullSender
	}
	var head strings.Builder
	line := func(on bool, text string) {
		if on {
			head.WriteString(oneLine(text) + eol)
		}
	}
	rcpt := &d.Recipients[0]
	line(f.from, "From "+sender+"  "+time.Now().Format(time.ANSIC))
	line(f.returnPath, "Return-Path: <"+sender+">")
	line(f.originalTo && rcpt.Original != "", "X-Original-To: "+rcpt.Original.External())
	line(f.deliveredTo, "Delivered-To: "+rcpt.Address.External())
	dir := s.directory
	if dir == "" {
		dir = a.set.QueueDirectory
	}
	return &privdeliver.Request{
		Kind: privdeliver.Command, Argv: argv, Env: a.set.exported(), Dir: dir, Timeout: a.limit, Size: d.Content.Size(),
		Prefix: []byte(head.String()),
		Form:   privdeliver.Form{EOL: s.eol, From: f.quote, Dot: f.dot, Blank: f.blank},
	}
}

// argv expands the command. An argument that names something of a recipient
// stands for one argument per recipient.
func (a *pipe) argv(d *Delivery) ([]string, error) {
	common := a.facts(d)
	perRecipient := make([]map[string]string, len(d.Recipients))
	for i := range d.Recipients {
		perRecipient[i] = a.recipientFacts(&d.Recipients[i])
	}
	var out []string
	for _, arg := range a.svc.argv {
		for _, facts := range perRecipient {
			repeated := false
			var unknown error
			text, err := postconf.ExpandOnce(arg, func(name string) (string, bool) {
				if value, ok := common[name]; ok {
					return value, true
				}
				value, ok := facts[name]
				if !ok && unknown == nil {
					unknown = fmt.Errorf("unknown macro name: %q", name)
				}
				repeated = repeated || ok
				return value, ok
			})
			if err == nil {
				err = unknown
			}
			if err != nil {
				return nil, err
			}
			out = append(out, text)
			if !repeated {
				break
			}
		}
	}
	return out, nil
}

// facts are the macros that are the same for all recipients.
func (a *pipe) facts(d *Delivery) map[string]string {
	env, c := d.Envelope, d.Envelope.Client
	if c.UID >= 0 {
		c = mail.ClientFacts{} // a local submission has no client
	}
	sender := a.svc.nullSender
	if env.Sender != "" {
		sender = string(env.Sender)
	}
	if a.svc.flags.quoteAddress && sender != "" {
		sender = mail.Address(sender).External()
	}
	nexthop := string(d.Route.Nexthop)
	if a.svc.flags.foldHost {
		nexthop = strings.ToLower(nexthop)
	}
	return map[string]string{
		"client_address": c.Addr, "client_helo": c.Helo, "client_hostname": c.Name, "client_port": c.Port, "client_protocol": c.Proto,
		"envid": env.EnvID, "nexthop": nexthop, "queue_id": string(env.ID), "sender": sender, "size": strconv.FormatInt(env.Size, 10),
		"sasl_method": c.SASLMethod, "sasl_sender": c.SASLSender, "sasl_username": c.SASLUser,
	}
}

// recipientFacts are the macros about one recipient.
func (a *pipe) recipientFacts(r *mail.Recipient) map[string]string {
	whole := func(addr mail.Address) string {
		addr = a.fold(addr)
		if a.svc.flags.quoteAddress {
			return addr.External()
		}
		return string(addr)
	}
	local, domain := a.fold(r.Address).Split()
	base, ext := a.deps.Search.Split(local)
	if ext != "" {
		ext = ext[1:] // without the delimiter
	}
	return map[string]string{
		"recipient": whole(r.Address), "original_recipient": whole(r.Original), "domain": domain, "mailbox": local,
		"user": base, "extension": ext,
	}
}

// fold makes an address lower case as far as the flags say.
func (a *pipe) fold(addr mail.Address) mail.Address {
	local, domain := addr.Split()
	if a.svc.flags.foldUser {
		local = strings.ToLower(local)
	}
	if domain == "" {
		return mail.Address(local)
	}
	if a.svc.flags.foldHost {
		domain = strings.ToLower(domain)
	}
	return mail.Address(local + "@" + domain)
}
