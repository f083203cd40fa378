package policy

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"postroad/internal/postconf"
)

// Config is what is known about one policy server.
type Config struct {
	// Spec is the argument of check_policy_service.
	Spec string
	// Network is "tcp" or "unix", Address what follows "inet:" or "unix:".
	Network, Address string
	// Timeout limits connecting and one exchange.
	Timeout time.Duration
	// MaxIdle and MaxTTL bound how long a connection is kept unused and at all.
	MaxIdle, MaxTTL time.Duration
	// RequestLimit bounds the requests over one connection; 0 is no limit.
	RequestLimit int
	// TryLimit is how often a request is sent at most, RetryDelay the pause
	// between two attempts.
	TryLimit   int
	RetryDelay time.Duration
	// DefaultAction stands for the answer of a server that gives none.
	DefaultAction string
	// Context is the value of the attribute policy_context.
	Context string
}

// option is one name=value of "{ inet:host:port, name=value }".
type option struct {
	name string
	set  func(c *Config, value string) error
}

// options lists what may stand behind the address of a server; each replaces
// the main.cf parameter smtpd_policy_service_NAME.
func options() []option {
	return []option{
		{"timeout", duration(func(c *Config) *time.Duration { return &c.Timeout })},
		{"max_idle", duration(func(c *Config) *time.Duration { return &c.MaxIdle })},
		{"max_ttl", duration(func(c *Config) *time.Duration { return &c.MaxTTL })},
		{"retry_delay", duration(func(c *Config) *time.Duration { return &c.RetryDelay })},
		{"request_limit", number(0, func(c *Config) *int { return &c.RequestLimit })},
		{"try_limit", number(1, func(c *Config) *int { return &c.TryLimit })},
		{"default_action", text(func(c *Config) *string { return &c.DefaultAction })},
		{"policy_context", text(func(c *Config) *string { return &c.Context })},
	}
}

func duration(field func(*Config) *time.Duration) func(*Config, string) error {
	return func(c *Config, value string) error {
		d, err := postconf.ParseDuration(value, 's')
		if err != nil || d < time.Second {
			return errors.New("bad time value or unit: " + value)
		}
		*field(c) = d
		return nil
	}
}

func number(least int, field func(*Config) *int) func(*Config, string) error {
	return func(c *Config, value string) error {
		n, err := strconv.ParseInt(value, 10, 32)
		if err != nil || int(n) < least {
			return errors.New("bad numerical configuration: " + value)
		}
		*field(c) = int(n)
		return nil
	}
}

func text(field func(*Config) *string) func(*Config, string) error {
	return func(c *Config, value string) error {
		if value == "" {
			return errors.New("bad string length 0 < 1")
		}
		*field(c) = value
		return nil
	}
}

// Parse reads the argument of check_policy_service: "inet:host:port",
// "unix:path", or one of these with options in braces. What is not said there
// comes from defaults.
func Parse(spec string, defaults Config) (Config, error) {
	c := defaults
	c.Spec = spec
	words := []string{spec}
	if inner, ok := strings.CutPrefix(spec, "{"); ok {
		inner, ok = strings.CutSuffix(inner, "}")
		if !ok {
			return c, fmt.Errorf("policy service syntax error: %s", spec)
		}
		if words = postconf.SplitList(inner); len(words) == 0 {
			return c, fmt.Errorf("empty policy service: %q", spec)
		}
	}
	network, address, _ := strings.Cut(words[0], ":")
	switch network {
	case "inet":
		c.Network = "tcp"
	case "unix", "local":
		c.Network = "unix"
	}
	if c.Network == "" || address == "" {
		return c, fmt.Errorf("need service transport:endpoint instead of %q", words[0])
	}
	c.Address = address
	for _, word := range words[1:] {
		if err := c.override(word); err != nil {
			return c, err
		}
	}
	return c, nil
}

// override applies one "name=value" or "{ name = value }".
func (c *Config) override(word string) error {
	if inner, ok := strings.CutPrefix(word, "{"); ok {
		word = strings.TrimSuffix(inner, "}")
	}
	name, value, found := strings.Cut(word, "=")
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	if !found || name == "" {
		return fmt.Errorf("malformed option: missing '=' after attribute name: %q", word)
	}
	for _, o := range options() {
		if o.name != name {
			continue
		}
		if err := o.set(c, value); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	}
	return fmt.Errorf("unknown option: \"%s = %s\"", name, value)
}
