package cli

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"strings"

	"postroad/internal/mail"
	"postroad/internal/postconf"
)

// Question is what "postroad explain" is asked: a transaction that nobody makes.
type Question struct {
	// Service is the master.cf service that the client connects to, empty for the
	// first SMTP server.
	Service string
	// ClientName is empty when the name is to be looked up; "unknown" is none.
	ClientName string
	ClientAddr netip.Addr
	Helo       string
	Sender     mail.Address
	Recipients []mail.Address
	// User is the login name, TLS tells that the session is encrypted.
	User string
	TLS  bool
	// Size is what MAIL announces.
	Size int64
}

// Explanation is what would become of the transaction.
type Explanation struct {
	// Service is the service with its place in master.cf.
	Service string `json:"service"`
	// Client is the client as the log would name it.
	Client     string       `json:"client"`
	Recipients []Explained  `json:"recipients"`
	Limits     []NamedValue `json:"limits"`
	// Notes are what the restrictions do not tell.
	Notes    []string `json:"notes,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
}

// NamedValue is a parameter and its value.
type NamedValue struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Explained is what would become of one recipient.
type Explained struct {
	Recipient string        `json:"recipient"`
	Steps     []ExplainStep `json:"steps"`
	// Reply is the answer to RCPT, Accepted whether it is a yes.
	Reply    string `json:"reply"`
	Accepted bool   `json:"accepted"`
	// Rewritten is the envelope after rewriting, Ends are where the message goes.
	Sender    string         `json:"rewritten_sender,omitempty"`
	Rewritten string         `json:"rewritten_recipient,omitempty"`
	Ends      []ExplainedEnd `json:"deliveries,omitempty"`
	// Lookups are what tables found while the envelope was rewritten.
	Lookups []ExplainedHit `json:"rewriting,omitempty"`
}

// ExplainedHit is something that a table or a list has.
type ExplainedHit struct {
	Parameter string `json:"parameter"`
	File      string `json:"file,omitempty"`
	Line      int    `json:"line,omitempty"`
	Table     string `json:"table"`
	Key       string `json:"key"`
	Value     string `json:"value,omitempty"`
}

// ExplainStep is one restriction.
type ExplainStep struct {
	Depth   int    `json:"depth"`
	List    string `json:"list"`
	Index   int    `json:"index"`
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
	Rule    string `json:"rule"`
	Key     string `json:"key,omitempty"`
	Result  string `json:"result,omitempty"`
	Outcome string `json:"outcome"`
	Reply   string `json:"reply,omitempty"`
}

// ExplainedEnd is one address that the message goes to.
type ExplainedEnd struct {
	Address   string `json:"address"`
	Class     string `json:"class"`
	Transport string `json:"transport"`
	Nexthop   string `json:"nexthop"`
	// Program and Origin are the transport's in master.cf.
	Program string `json:"program,omitempty"`
	Origin  string `json:"origin,omitempty"`
	// Lookups are what tables and lists found on the way to the route.
	Lookups []ExplainedHit `json:"routing,omitempty"`
	// TLS is the policy of the SMTP client for the next hop.
	TLS   string `json:"tls,omitempty"`
	Error string `json:"error,omitempty"`
}

var errQuestion = errors.New("usage: postroad explain [-c config_dir] [-json] [-service name] [-client name[address]] [-helo name] [-sender address] " +
	"[-user login] [-tls] [-size bytes] address [address]")

// runExplain is "postroad explain": what would happen to a message, step by step,
// without one. The exit code is 1 when a recipient would be refused.
func runExplain(e *Env) int {
	dir, asJSON, q, err := explainFlags(e)
	if err != nil {
		return e.Fatalf(1, "%v", err)
	}
	if e.Host.Explain == nil {
		return e.Fatalf(1, "this binary has no mail system")
	}
	if dir, err = e.absoluteDir(dir); err != nil {
		return e.Fatalf(1, "%v", err)
	}
	cfg, problems := postconf.Load(dir, postconf.LoadOptions{})
	for _, p := range problems {
		if p.Fatal {
			return e.Fatalf(1, "%v", p.Error())
		}
	}
	x, err := e.Host.Explain(context.Background(), cfg, q)
	if err != nil {
		return e.Fatalf(1, "%v", err)
	}
	if asJSON {
		out, err := json.MarshalIndent(x, "", "  ")
		if err != nil {
			return e.Fatalf(1, "%v", err)
		}
		e.Printf("%s\n", out)
	} else {
		e.printExplanation(x)
	}
	for _, r := range x.Recipients {
		if !r.Accepted {
			return 1
		}
	}
	return 0
}

func explainFlags(e *Env) (dir string, asJSON bool, q *Question, err error) {
	f := flag.NewFlagSet("postroad explain", flag.ContinueOnError)
	f.SetOutput(e.Stderr)
	q = &Question{}
	f.StringVar(&dir, "c", "", "the configuration `directory`")
	f.BoolVar(&asJSON, "json", false, "write JSON")
	f.StringVar(&q.Service, "service", "", "the master.cf `name` of the SMTP server")
	client := f.String("client", "127.0.0.1", "the client: `address` or name[address]")
	f.StringVar(&q.Helo, "helo", "client.example", "the `name` in HELO")
	sender := f.String("sender", "", "the `address` in MAIL FROM, empty for a bounce")
	f.StringVar(&q.User, "user", "", "the login `name`")
	f.BoolVar(&q.TLS, "tls", false, "the session is encrypted")
	f.Int64Var(&q.Size, "size", 0, "the announced size in `bytes`")
	f.Func("recipient", "an `address` in RCPT TO; may be given again", func(s string) error {
		q.Recipients = append(q.Recipients, mail.Address(s))
		return nil
	})
	// Options may stand behind addresses, too.
	for args := e.Args; ; args = f.Args()[1:] {
		if err := f.Parse(args); err != nil {
			return "", false, nil, err
		}
		if f.NArg() == 0 {
			break
		}
		q.Recipients = append(q.Recipients, mail.Address(strings.Trim(f.Arg(0), "<>")))
	}
	if len(q.Recipients) == 0 {
		return "", false, nil, errQuestion
	}
	q.Sender = mail.Address(strings.Trim(*sender, "<>"))
	if q.ClientName, q.ClientAddr, err = splitClient(*client); err != nil {
		return "", false, nil, err
	}
	return dir, asJSON, q, nil
}

// splitClient reads "name[address]" or an address.
func splitClient(text string) (name string, addr netip.Addr, err error) {
	literal := text
	if i := strings.IndexByte(text, '['); i >= 0 && strings.HasSuffix(text, "]") {
		name, literal = text[:i], text[i+1:len(text)-1]
	}
	if addr, err = netip.ParseAddr(literal); err != nil {
		return "", addr, fmt.Errorf("bad client %q: an address or name[address] is wanted", text)
	}
	return name, addr.Unmap(), nil
}

// printExplanation writes it for people.
func (e *Env) printExplanation(x *Explanation) {
	e.Printf("service %s\nclient  %s\n", x.Service, x.Client)
	for _, w := range x.Warnings {
		e.Printf("warning %s\n", w)
	}
	for _, n := range x.Notes {
		e.Printf("note    %s\n", n)
	}
	for _, r := range x.Recipients {
		e.Printf("\nrecipient <%s>\n", r.Recipient)
		list := ""
		for _, s := range r.Steps {
			if s.List != list {
				list = s.List
				e.Printf("  %s%s\n", list, place(s.File, s.Line))
			}
			e.Printf("  %s%d. %s: %s\n", strings.Repeat("  ", s.Depth), s.Index+1, s.Rule, stepText(&s))
		}
		e.Printf("  reply: %s\n", r.Reply)
		if !r.Accepted {
			continue
		}
		e.Printf("  envelope: from <%s> to <%s>\n", r.Sender, r.Rewritten)
		e.printHits(r.Lookups)
		for _, end := range r.Ends {
			e.Printf("  -> <%s> %s\n", end.Address, endText(&end))
			e.printHits(end.Lookups)
		}
	}
	if len(x.Limits) > 0 {
		e.Printf("\nlimits\n")
	}
	for _, l := range x.Limits {
		e.Printf("  %s = %s\n", l.Name, l.Value)
	}
}

// printHits writes what tables found, a line each.
func (e *Env) printHits(hits []ExplainedHit) {
	for _, h := range hits {
		e.Printf("     %s%s: %s has %s", h.Parameter, place(h.File, h.Line), h.Table, h.Key)
		if h.Value != "" {
			e.Printf(": %s", h.Value)
		}
		e.Printf("\n")
	}
}

// place is where a list is set.
func place(file string, line int) string {
	if file == "" {
		return ""
	}
	return " (" + postconf.Origin{File: file, Line: line}.String() + ")"
}

func stepText(s *ExplainStep) string {
	text := s.Outcome
	if s.Key != "" {
		text += ", key " + s.Key
	}
	if s.Result != "" {
		text += ", result " + s.Result
	}
	if s.Reply != "" {
		text += ", " + s.Reply
	}
	return text
}

func endText(end *ExplainedEnd) string {
	if end.Error != "" {
		return "deferred: " + end.Error
	}
	text := "class " + end.Class + ", transport " + end.Transport
	if end.Nexthop != "" {
		text += ", next hop " + end.Nexthop
	}
	if end.Program != "" {
		text += ", " + end.Program + " (" + end.Origin + ")"
	}
	if end.TLS != "" {
		text += ", TLS " + end.TLS
	}
	return text
}
