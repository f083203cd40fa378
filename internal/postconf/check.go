package postconf

import (
	"fmt"
	"math"
	"strings"
)

// Check examines every value that the site has set, in main.cf and in master.cf,
// whether or not something reads it: that it expands, that it is of the right
// type and within the bounds. It also makes the comparisons between parameters
// that every Postfix program makes when it starts.
func (c *Config) Check() []Problem {
	var problems []Problem
	main := c.View(nil)
	for _, name := range c.mainNames() {
		problems = append(problems, main.check(name)...)
	}
	for _, s := range c.Active() {
		v := c.View(s)
		for _, o := range s.Overrides {
			problems = append(problems, v.check(o.Name)...)
		}
	}
	return Unique(append(problems, main.checkNames()...))
}

// check examines one value.
func (v *View) check(name string) []Problem {
	p, ok := Find(name)
	if !ok || Legacy(name) {
		return nil
	}
	value, err := v.Value(name)
	if err == nil {
		err = p.Check(value)
	}
	if err != nil {
		return []Problem{v.problemOf(name, err)}
	}
	return nil
}

// checkNames examines the names of this host.
func (v *View) checkNames() []Problem {
	var problems []Problem
	values := map[string]string{}
	for _, name := range [...]string{"myhostname", "mydomain", "myorigin", "relayhost", "mynetworks"} {
		value, err := v.Value(name)
		if err != nil {
			problems = append(problems, v.problemOf(name, err))
			continue
		}
		values[name] = value
	}
	report := func(name, format string, args ...any) {
		problems = append(problems, v.problemOf(name, fmt.Errorf(format, args...)))
	}
	for _, name := range [...]string{"myhostname", "mydomain"} {
		// An empty value is an error of its own.
		if value := values[name]; value != "" && !validHostname(value) {
			report(name, "parameter %s: bad parameter value: %s", name, value)
		}
	}
	if host := values["myhostname"]; host != "" && strings.EqualFold(host, values["relayhost"]) {
		report("relayhost", "myhostname and relayhost parameter settings must not be identical: %s", host)
	}
	if origin := values["myorigin"]; strings.ContainsAny(origin, ", \t\r\n") {
		report("myorigin", "myorigin parameter setting must not contain multiple values: %s", origin)
	}
	return problems
}

// LegacyDefaults returns the parameters that are not set and whose default is the
// one of former releases because compatibility_level is low, with their values.
// Postfix logs each of them when it has an effect.
func (v *View) LegacyDefaults() []Override {
	var out []Override
	newest := v.With("compatibility_level", fmt.Sprint(math.MaxInt32))
	Params(func(p *Param) {
		if !strings.Contains(p.Default, "$compatibility_level") || v.IsSet(p.Name) {
			return
		}
		now, err := v.Value(p.Name)
		if err != nil {
			return
		}
		if later, err := newest.Value(p.Name); err == nil && later != now {
			out = append(out, Override{p.Name, now})
		}
	})
	return out
}

// Environment returns the variables of environ that a list such as
// import_environment or export_environment lets through: "NAME" keeps the value,
// "NAME=value" or "{ NAME = value }" sets it.
func Environment(list []string, environ []string) []string {
	var out []string
	for _, item := range list {
		item, _ = Unbrace(item)
		if name, value, why := splitNameValue(item); why == "" {
			out = append(out, name+"="+value)
			continue
		}
		for i := len(environ) - 1; i >= 0; i-- {
			if name, _, ok := strings.Cut(environ[i], "="); ok && name == item {
				out = append(out, environ[i])
				break
			}
		}
	}
	return out
}
