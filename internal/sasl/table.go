package sasl

import (
	"context"
	"fmt"
	"strings"
)

// tableAccounts are the rows of a lookup table: name, and password hash.
type tableAccounts struct {
	table  Table
	domain string
}

// name implements accounts.
func (a *tableAccounts) name(user string) string { return user }

// lookup implements accounts.
func (a *tableAccounts) lookup(ctx context.Context, user string) (string, bool, error) {
	value, ok, err := a.table.Lookup(ctx, user)
	if err == nil && !ok && a.domain != "" && !strings.Contains(user, "@") {
		value, ok, err = a.table.Lookup(ctx, user+"@"+a.domain)
	}
	if err != nil {
		return "", false, fmt.Errorf("password table: %w", err)
	}
	return value, ok, nil
}

// newTable makes the server of smtpd_sasl_type = postroad.
func newTable(s *Settings, pol policy, d *Deps) (Server, error) {
	t, err := d.Open(s.Path)
	if err != nil {
		return nil, fmt.Errorf("smtpd_sasl_path: %w", err)
	}
	srv, err := newLocal(pol, &tableAccounts{t, s.LocalDomain}, words{
		wrong: "Invalid user name or password", malformed: "Malformed response", later: "Password table error",
	}, s.Hostname)
	if err != nil {
		return nil, err
	}
	srv.mechs, err = chooseMechanisms("postroad_sasl_mechanisms", s.Mechanisms, true)
	return srv, err
}

// chooseMechanisms returns the mechanisms of that name, in the given order; all
// of them when no name is given. stored tells whether there are passwords to
// read. A name that is not known here is an error, unless param is empty.
func chooseMechanisms(param string, names []string, stored bool) ([]mechanism, error) {
	var out []mechanism
	add := func(name string) bool {
		for _, m := range localMechanisms {
			if (name == "" || strings.EqualFold(m.name, name)) && (stored || !m.secret) {
				out = append(out, m.mechanism)
				if name != "" {
					return true
				}
			}
		}
		return name == ""
	}
	if len(names) == 0 {
		add("")
	}
	for _, n := range names {
		if !add(n) && param != "" {
			return nil, fmt.Errorf("%s: no mechanism %q here", param, n)
		}
	}
	return out, nil
}
