package limits

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"postroad/internal/postconf"
)

// Window is one limit: at most Max events in a period.
type Window struct {
	Max int
	Per time.Duration
}

// String is the window as it is written: 100/1h.
func (w Window) String() string { return strconv.Itoa(w.Max) + "/" + Period(w.Per) }

// Period writes a period with the largest unit that fits.
func Period(d time.Duration) string {
	seconds := int64(d / time.Second)
	for _, u := range [...]struct {
		size int64
		unit string
	}{{7 * 86400, "w"}, {86400, "d"}, {3600, "h"}, {60, "m"}} {
		if seconds >= u.size && seconds%u.size == 0 {
			return strconv.FormatInt(seconds/u.size, 10) + u.unit
		}
	}
	return strconv.FormatInt(seconds, 10) + "s"
}

// Rule is the argument of postroad_limit.
type Rule struct {
	// Name is under which it counts: rules of one name share their counters.
	Name string
	// Key is the attribute that is counted by, one of Keys. V4 and V6 are the
	// lengths of client networks, 0 for those of main.cf.
	Key    string
	V4, V6 int
	// Map is a table that gives the key for the attribute, or empty.
	Map string
	// Recipients counts recipients instead of messages.
	Recipients bool
	Windows    []Window
	// Limits is a table with other windows for some keys, or empty.
	Limits string
	// Exempt are the clients that are not counted.
	Exempt []string
	// Action is what is done beyond the limit, as in access(5); empty refuses.
	Action string
}

// Keys are the attributes that can be counted by.
func Keys() []string {
	return []string{"sasl_username", "client_address", "sender", "sender_domain", "recipient", "recipient_domain"}
}

// Bounds of a rule.
const (
	maxWindows = 8
	maxPer     = 366 * 24 * time.Hour
	maxName    = 100
)

// Unlimited is what a table of limits says for a key without one.
const Unlimited = "unlimited"

// setting is one "name=value" of a rule.
type setting struct {
	name string
	set  func(r *Rule, value string) error
}

func settings() []setting {
	text := func(field func(*Rule) *string) func(*Rule, string) error {
		return func(r *Rule, value string) error {
			*field(r) = value
			return nil
		}
	}
	spec := func(field func(*Rule) *string) func(*Rule, string) error {
		return func(r *Rule, value string) error {
			if !strings.Contains(value, ":") {
				return errors.New("need type:table instead of \"" + value + "\"")
			}
			*field(r) = value
			return nil
		}
	}
	return []setting{
		{"count", setCount}, {"name", setName},
		{"map", spec(func(r *Rule) *string { return &r.Map })},
		{"limits", spec(func(r *Rule) *string { return &r.Limits })},
		{"action", text(func(r *Rule) *string { return &r.Action })},
		{"exempt", func(r *Rule, value string) error {
			r.Exempt = append(r.Exempt, postconf.SplitList(value)...)
			return nil
		}},
	}
}

func setCount(r *Rule, value string) error {
	switch value {
	case "messages":
		r.Recipients = false
	case "recipients":
		r.Recipients = true
	default:
		return errors.New("need messages or recipients instead of \"" + value + "\"")
	}
	return nil
}

func setName(r *Rule, value string) error {
	if len(value) > maxName || strings.ContainsFunc(value, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
		return errors.New("bad name \"" + value + "\"")
	}
	r.Name = value
	return nil
}

// Parse reads "{ key N/PERIOD ..., name=value, { name = value } ... }".
func Parse(text string) (*Rule, error) {
	inner, ok := strings.CutPrefix(text, "{")
	if ok {
		inner, ok = strings.CutSuffix(inner, "}")
	}
	if !ok {
		return nil, errors.New("need \"{ key number/period ... }\" instead of \"" + text + "\"")
	}
	words := postconf.SplitList(inner)
	if len(words) == 0 {
		return nil, errors.New("need a key, such as sasl_username")
	}
	r := &Rule{}
	if err := r.parseKey(words[0]); err != nil {
		return nil, err
	}
	for _, word := range words[1:] {
		if err := r.parseWord(word); err != nil {
			return nil, err
		}
	}
	if len(r.Windows) == 0 {
		return nil, errors.New("need a limit, such as 100/1h")
	}
	if r.Name == "" {
		r.Name = r.describe()
	}
	return r, nil
}

// parseKey reads the attribute, with the lengths of networks behind
// client_address.
func (r *Rule) parseKey(word string) error {
	key, lengths, nets := strings.Cut(word, "/")
	for _, known := range Keys() {
		if key == known {
			r.Key = key
		}
	}
	if r.Key == "" || nets && key != "client_address" {
		return fmt.Errorf("unknown key %q: need one of %s", word, strings.Join(Keys(), ", "))
	}
	if !nets {
		return nil
	}
	v4, v6, both := strings.Cut(lengths, "/")
	var err error
	if r.V4, err = strconv.Atoi(v4); err != nil || r.V4 < 1 || r.V4 > 32 {
		return fmt.Errorf("bad network length in %q", word)
	}
	if both {
		if r.V6, err = strconv.Atoi(v6); err != nil || r.V6 < 1 || r.V6 > 128 {
			return fmt.Errorf("bad network length in %q", word)
		}
	}
	return nil
}

// parseWord reads a window or a setting; braces are for values with spaces.
func (r *Rule) parseWord(word string) error {
	if inner, ok := strings.CutPrefix(word, "{"); ok {
		word = strings.TrimSpace(strings.TrimSuffix(inner, "}"))
	}
	name, value, found := strings.Cut(word, "=")
	if !found {
		more, err := ParseWindows(word)
		if err != nil {
			return err
		}
		return r.add(more)
	}
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	for _, s := range settings() {
		if s.name != name {
			continue
		}
		if value == "" {
			return errors.New(name + " needs a value")
		}
		if err := s.set(r, value); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	}
	return fmt.Errorf("unknown option %q", name)
}

// add adds windows; each period has one limit.
func (r *Rule) add(more []Window) error {
	for _, w := range more {
		for _, have := range r.Windows {
			if have.Per == w.Per {
				return errors.New("two limits for the same period: " + have.String() + " and " + w.String())
			}
		}
		r.Windows = append(r.Windows, w)
	}
	if len(r.Windows) > maxWindows {
		return fmt.Errorf("more than %d limits", maxWindows)
	}
	return nil
}

// describe is the name of a rule that has none: what it counts. The numbers are no
// part of it, so that another limit begins with what was counted.
func (r *Rule) describe() string {
	var b strings.Builder
	b.WriteString(r.Key)
	if r.V4 > 0 {
		b.WriteString("/" + strconv.Itoa(r.V4))
	}
	if r.V6 > 0 {
		b.WriteString("/" + strconv.Itoa(r.V6))
	}
	if r.Map != "" {
		b.WriteString(":" + r.Map)
	}
	b.WriteString(":" + r.Unit())
	sep := ":"
	for _, w := range r.Windows {
		b.WriteString(sep + Period(w.Per))
		sep = ","
	}
	return b.String()
}

// Unit is what is counted.
func (r *Rule) Unit() string {
	if r.Recipients {
		return "recipients"
	}
	return "messages"
}

// ParseWindows reads "100/1h 500/1d".
func ParseWindows(text string) ([]Window, error) {
	var out []Window
	for _, word := range postconf.SplitList(text) {
		number, period, ok := strings.Cut(word, "/")
		n, err := strconv.ParseInt(number, 10, 32)
		if !ok || err != nil || n < 0 {
			return nil, errors.New("need number/period instead of \"" + word + "\"")
		}
		if period != "" && (period[0] < '0' || period[0] > '9') {
			period = "1" + period // 100/h
		}
		per, err := postconf.ParseDuration(period, 's')
		if err != nil || per < time.Second || per > maxPer {
			return nil, errors.New("bad period in \"" + word + "\"")
		}
		if out = append(out, Window{int(n), per}); len(out) > maxWindows {
			return nil, fmt.Errorf("more than %d limits", maxWindows)
		}
	}
	return out, nil
}
