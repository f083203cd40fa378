package postconf

import (
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
)

// View is the configuration as one service sees it.
type View struct {
	cfg *Config
	// svc is nil for main.cf alone.
	svc *Service
	// over are the settings of With; the last one of a name counts. They are few.
	over []Override
	// noDomain and noNetworks hide the computed default of mydomain and mynetworks
	// while it is being computed, so that it cannot depend on itself.
	noDomain, noNetworks bool
}

// Namespace returns the "-o" settings that postconf(1) shows for an entry: those
// of all entries with the same name and type, sorted by name, each name once. It
// is nil when neither the entry nor one before it has any.
func (c *Config) Namespace(s *Service) []Override {
	var out []Override
	seen, own := map[string]int{}, false
	for _, other := range c.Services {
		if other.ID() == s.ID() {
			for _, o := range other.Overrides {
				if i, again := seen[o.Name]; again {
					out[i] = o
				} else {
					seen[o.Name] = len(out)
					out = append(out, o)
				}
			}
		}
		if other == s {
			own = len(out) > 0
		}
	}
	if !own {
		return nil
	}
	slices.SortFunc(out, func(a, b Override) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// View returns the view of a service; nil stands for main.cf alone.
func (c *Config) View(s *Service) *View { return &View{cfg: c, svc: s} }

// With returns a view with one more setting on top, for example stress=yes.
func (v *View) With(name, value string) *View {
	over := make([]Override, 0, len(v.over)+1)
	over = append(append(over, v.over...), Override{name, value})
	w := *v
	w.over = over
	return &w
}

// Config returns the configuration of which v is a view.
func (v *View) Config() *Config { return v.cfg }

// Service returns the service of which v is the view, or nil.
func (v *View) Service() *Service { return v.svc }

// Raw returns what is written for a parameter, or else its built-in default, with
// its $names as they are. set says whether it is written somewhere. For a default
// that is computed, value is the result.
func (v *View) Raw(name string) (value string, o Origin, set bool) {
	if value, o, ok := v.setting(name); ok {
		return value, o, true
	}
	value, _ = v.builtin(name)
	return value, Origin{File: "built-in default"}, false
}

// IsSet reports whether a parameter is written somewhere, even if it is empty.
func (v *View) IsSet(name string) bool {
	_, _, ok := v.setting(name)
	return ok
}

// Setting returns the value of a parameter that is written somewhere, with its $names
// expanded.
func (v *View) Setting(name string) (value string, ok bool) {
	if !v.IsSet(name) {
		return "", false
	}
	value, err := v.Value(name)
	return value, err == nil
}

// Value returns the value of a parameter with its $names expanded, except for the
// parameters of type Raw, whose $names are for later. A name that nobody knows is
// empty.
func (v *View) Value(name string) (string, error) {
	raw, o, _ := v.Raw(name)
	if name == "mynetworks" && !v.IsSet(name) {
		return v.networks()
	}
	if isRaw(name) {
		return raw, nil
	}
	s, err := v.Expand(raw)
	if err != nil {
		return "", newValueError(v.place(o), inValue(err, name))
	}
	return s, nil
}

// inValue is the message for an expression that cannot be expanded.
func inValue(err error, name string) string { return err.Error() + " in the value of " + name }

// Expand expands the $names of s with the values of v.
func (v *View) Expand(s string) (string, error) {
	if strings.IndexByte(s, '$') < 0 {
		return s, nil
	}
	e := &expander{lookup: v.lookup, final: isRaw}
	e.parse(s, 0)
	return e.out.String(), e.err
}

// isRaw reports whether the value of a parameter is not to be expanded.
func isRaw(name string) bool {
	p := findBuiltin(name)
	return p != nil && p.Type == Raw
}

// place is the origin that a message should show: a built-in default is shown as
// main.cf, because that is where to mend it.
func (v *View) place(o Origin) Origin {
	if o.Line == 0 && v.cfg.Main.File != "" {
		return Origin{File: v.cfg.Main.File}
	}
	return o
}

// lookup is the lookup function for expansion.
func (v *View) lookup(name string) (string, bool) {
	if value, _, ok := v.setting(name); ok {
		return value, true
	}
	return v.builtin(name)
}

// setting returns what is written for a name: by With, in master.cf, on the
// command line, in main.cf.
func (v *View) setting(name string) (string, Origin, bool) {
	for i := len(v.over) - 1; i >= 0; i-- {
		if v.over[i].Name == name {
			return v.over[i].Value, Origin{File: "override"}, true
		}
	}
	if v.svc != nil {
		switch name {
		case "process_name", "service_name":
			// Read-only since Postfix 3.12; a value in main.cf would break the
			// names in the log.
			return "", Origin{}, false
		}
		if value, ok := v.svc.Override(name); ok {
			return value, v.svc.Origin, true
		}
	}
	for i := len(v.cfg.overrides) - 1; i >= 0; i-- {
		if v.cfg.overrides[i].Name == name {
			return v.cfg.overrides[i].Value, Origin{File: "command line"}, true
		}
	}
	if s, ok := v.cfg.Main.settings[name]; ok {
		if name == "compatibility_level" && v.cfg.badLevel {
			return "0", s.Origin, true
		}
		return s.Value, s.Origin, true
	}
	if name == "config_directory" && v.cfg.Dir != DefaultDir && !v.cfg.withoutMain {
		// A directory that was chosen counts as a setting.
		return v.cfg.Dir, Origin{File: "command line"}, true
	}
	return "", Origin{}, false
}

// builtin returns the default of a name, computed where it has to be. For a name
// that is not a parameter it returns false.
func (v *View) builtin(name string) (string, bool) {
	switch name {
	case "myhostname":
		return v.defaultHostname(), true
	case "mydomain":
		if v.noDomain {
			return "", false
		}
		return v.defaultDomain(), true
	case "mynetworks":
		if v.noNetworks {
			return "", false
		}
		s, _ := v.networks() // Value reports the error
		return s, true
	case "process_id":
		return strconv.Itoa(os.Getpid()), true
	case "process_name":
		if v.svc != nil {
			return v.svc.Program(), true
		}
		return v.cfg.process, true
	case "service_name":
		if v.svc != nil {
			return v.svc.Name, true
		}
		return "amnesiac", true // outside of any service
	}
	p, ok := Find(name)
	if !ok || Legacy(name) {
		return "", false
	}
	return p.Default, true
}

// problemOf makes a problem of an error that is about a parameter.
func (v *View) problemOf(name string, err error) Problem {
	var ve *ValueError
	if errors.As(err, &ve) {
		return ve.Problem
	}
	_, o, _ := v.Raw(name)
	return Problem{Fatal: true, Origin: v.place(o), Text: err.Error()}
}
