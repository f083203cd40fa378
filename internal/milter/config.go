package milter

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"postroad/internal/event"
	"postroad/internal/postconf"
)

// Config is how the filters of a service are spoken to. It does not change, and
// any number of sessions use it.
type Config struct {
	set      Settings
	macros   macroLists
	defaults map[string]string
	// chunks are buffers for body text.
	chunks sync.Pool
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
}

// FromView reads the parameters of a service.
func FromView(v *postconf.View) (*Config, []postconf.Problem) {
	c := &Config{dial: new(net.Dialer).DialContext}
	problems := v.Decode(&c.set)
	set := &c.set
	for stage, names := range [macroStages]string{
		stageConnect: set.ConnectMacros, stageHelo: set.HeloMacros, stageMail: set.MailMacros, stageRcpt: set.RcptMacros,
		stageData: set.DataMacros, stageEndOfHeader: set.EndOfHeaderMacros, stageEndOfData: set.EndOfDataMacros,
		stageUnknown: set.UnknownMacros,
	} {
		c.macros[stage] = splitNames(names)
	}
	var warnings []string
	var err error
	if c.defaults, warnings, err = parseDefaults(set.Defaults); err != nil {
		problems = append(problems, problem("milter_macro_defaults", true, err.Error()))
	}
	for _, w := range warnings {
		problems = append(problems, problem("milter_macro_defaults", false, w))
	}
	c.chunks.New = func() any { return new([chunkSize]byte) }
	return c, problems
}

func problem(param string, fatal bool, text string) postconf.Problem {
	return postconf.Problem{Fatal: fatal, Origin: postconf.Origin{File: param}, Text: text}
}

// DaemonName and Version are the values of the macros {daemon_name} and v.
func (c *Config) DaemonName() string { return c.set.DaemonName }

// Version is the value of the macro v.
func (c *Config) Version() string { return c.set.Version }

// List is a list of filters, in the order in which they are asked.
type List struct {
	cfg      *Config
	services []service
}

// service is one filter of a list.
type service struct {
	// name is as the administrator wrote it: inet:host:port or unix:path.
	name                      string
	connect, command, content time.Duration
	protocol, action          string
	// lost tells that there is nothing to connect to.
	lost bool
}

// Errors of a list, in the words of Postfix.
var (
	errEmptyService = errors.New("empty milter definition")
	errOverride     = errors.New("expected name=value")
)

// Parse reads the value of smtpd_milters and its like. An empty list is nil.
func (c *Config) Parse(text string) (*List, error) {
	l := &List{cfg: c}
	for _, item := range postconf.SplitList(text) {
		svc := service{
			connect: c.set.ConnectTimeout, command: c.set.CommandTimeout, content: c.set.ContentTimeout,
			protocol: c.set.Protocol, action: c.set.DefaultAction, name: item,
		}
		if strings.HasPrefix(item, "{") {
			inner, why := postconf.Unbrace(item)
			if why != "" {
				return nil, fmt.Errorf("milter service syntax error: %s", why)
			}
			words := postconf.SplitList(inner)
			if len(words) == 0 {
				return nil, fmt.Errorf("%w: %q", errEmptyService, text)
			}
			svc.name = words[0]
			if err := svc.override(words[1:]); err != nil {
				return nil, fmt.Errorf("milter service %s: %w", svc.name, err)
			}
		}
		l.services = append(l.services, svc)
	}
	if len(l.services) == 0 {
		return nil, nil
	}
	return l, nil
}

// override applies the settings of one filter, which are called as the main.cf
// parameters are, without "milter_".
func (s *service) override(words []string) error {
	for _, w := range words {
		if strings.HasPrefix(w, "{") {
			inner, why := postconf.Unbrace(w)
			if why != "" {
				return errors.New(why)
			}
			w = inner
		}
		name, value, ok := strings.Cut(w, "=")
		if name, value = strings.TrimSpace(name), strings.TrimSpace(value); !ok || name == "" || value == "" {
			return fmt.Errorf("%w: %q", errOverride, w)
		}
		row, known := overrides[name]
		if !known {
			return fmt.Errorf("unknown attribute name: %s", name)
		}
		if err := row(s, value); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// overrides are the settings that a filter may have of its own.
var overrides = map[string]func(*service, string) error{
	"connect_timeout": func(s *service, v string) error { return parseTimeout(v, &s.connect) },
	"command_timeout": func(s *service, v string) error { return parseTimeout(v, &s.command) },
	"content_timeout": func(s *service, v string) error { return parseTimeout(v, &s.content) },
	"protocol":        func(s *service, v string) error { s.protocol = v; return nil },
	"default_action":  func(s *service, v string) error { s.action = v; return nil },
}

func parseTimeout(text string, to *time.Duration) error {
	d, err := postconf.ParseDuration(text, 's')
	if err != nil {
		return err
	}
	if d < time.Second {
		return fmt.Errorf("invalid time value: %s (min 1s)", text)
	}
	*to = d
	return nil
}

// Unavailable is a list of one filter that does not answer, called name: what
// should have said which filters to use has failed.
func (c *Config) Unavailable(name string) *List {
	return &List{cfg: c, services: []service{{name: name, action: c.set.DefaultAction, lost: true}}}
}

// Begin returns the filters for one SMTP session. Nothing is connected before
// Connect. When ctx ends, so does every exchange. log takes warnings; macros gives
// the values of macros.
func (l *List) Begin(ctx context.Context, log *event.Logger, macros Macros) *Chain {
	c := &Chain{cfg: l.cfg, macros: macros, filters: make([]*filter, len(l.services))}
	for i := range l.services {
		c.filters[i] = &filter{ctx: ctx, cfg: l.cfg, log: log, svc: &l.services[i], state: stateClosed}
	}
	return c
}
