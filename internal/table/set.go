package table

import (
	"errors"
	"fmt"
	"sync"
)

// Set holds the tables of one configuration generation. Each is opened once,
// however many parameters name it.
type Set struct {
	options Options

	mu   sync.Mutex
	open map[setKey]Table
}

// setKey tells tables of one Set apart.
type setKey struct {
	spec string
	use  Use
}

// Use says what the answers of a table are used for.
type Use uint8

const (
	// Plain is every ordinary use.
	Plain Use = iota
	// NoSubstitution is for tables whose result must not contain text of the
	// peer: rules with $number are skipped.
	NoSubstitution
	// Trusted is for tables whose answer becomes a command, a file name or a
	// user id in local(8) and virtual(8): no substitution, and no tables that
	// a network peer answers.
	Trusted
)

// noSubstitution lists the parameters whose tables trivial-rewrite(8) and
// local(8) open without substitution.
var noSubstitution = []string{
	"fallback_transport_maps",
	"mailbox_transport_maps",
	"sender_dependent_default_transport_maps",
	"sender_dependent_relayhost_maps",
	"transport_maps",
}

// NewSet returns an empty Set.
func NewSet(o Options) *Set {
	if o.pools == nil {
		o.pools = &pools{open: make(map[string]*sharedServers)}
	}
	return &Set{options: o, open: make(map[setKey]Table)}
}

// Open returns the table of that name. A table that cannot be opened becomes a
// stand-in whose lookups fail, after one warning; only a name that is no table
// name at all is an error.
func (s *Set) Open(spec string) (Table, error) { return s.OpenFor(spec, Plain) }

// OpenFor is Open for a special use.
func (s *Set) OpenFor(spec string, use Use) (Table, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := setKey{spec, use}
	if t, ok := s.open[key]; ok {
		return t, nil
	}
	o := s.options
	o.NoSubstitution = use != Plain
	o.Trusted = use == Trusted
	t, err := Open(spec, o)
	if errors.Is(err, ErrSyntax) {
		return nil, err
	}
	if err != nil {
		o.warnf("%s is unavailable. %v%s", spec, err, o.place(spec))
		t = newStandIn(spec, err, func() (Table, error) { return Open(spec, o) })
	}
	s.open[key] = t
	return t, nil
}

// place is where the configuration names a table, to go behind a message.
func (o *Options) place(spec string) string {
	if o.Place == nil {
		return ""
	}
	if place := o.Place(spec); place != "" {
		return " (" + place + ")"
	}
	return ""
}

// Maps opens the tables of a parameter. The tables that local(8) and
// virtual(8) trust are opened with TrustedMaps.
func (s *Set) Maps(param string, specs []string) (*Maps, error) {
	for _, name := range noSubstitution {
		if name == param {
			return s.maps(param, specs, NoSubstitution)
		}
	}
	return s.maps(param, specs, Plain)
}

// TrustedMaps opens the tables of a parameter whose answers become commands,
// file names or user ids: alias_maps, mailbox_command_maps, and
// virtual_mailbox_maps, virtual_uid_maps and virtual_gid_maps in virtual(8).
func (s *Set) TrustedMaps(param string, specs []string) (*Maps, error) {
	return s.maps(param, specs, Trusted)
}

func (s *Set) maps(param string, specs []string, use Use) (*Maps, error) {
	m := &Maps{param: param, warn: s.options.warnf}
	for _, spec := range specs {
		t, err := s.OpenFor(spec, use)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", param, err)
		}
		m.tables = append(m.tables, t)
	}
	return m, nil
}

// Close closes all tables.
func (s *Set) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, t := range s.open {
		errs = append(errs, t.Close())
	}
	clear(s.open)
	return errors.Join(errs...)
}
