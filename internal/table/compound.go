package table

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// openProxy opens proxy:type:name. Postfix asks proxymap(8) to spare each
// process its own copy; our copy is shared by all already.
func openProxy(name string, o *Options) (Table, error) {
	t, err := Open(name, *o)
	if err != nil {
		return nil, err
	}
	return &renamed{Table: t, name: "proxy:" + name}, nil
}

// renamed is a table under another name.
type renamed struct {
	Table
	name string
}

// String implements Table.
func (r *renamed) String() string { return r.name }

// Each implements Lister when the inner table does.
func (r *renamed) Each(fn func(Entry) bool) error {
	l, ok := r.Table.(Lister)
	if !ok {
		return errNoSequence
	}
	return l.Each(fn)
}

// openMembers opens the tables in "{type:name, type:name}".
func openMembers(typ, name string, o *Options) ([]Table, error) {
	inner, err := braced(name)
	specs := splitBraced(inner)
	noType := func(spec string) bool { return !strings.Contains(spec, ":") }
	if err != nil || len(specs) == 0 || slices.ContainsFunc(specs, noType) {
		return nil, fmt.Errorf("bad syntax: \"%s:%s\"; need \"%s:{type:name...}\"", typ, name, typ)
	}
	var tables []Table
	for _, spec := range specs {
		t, err := Open(spec, *o)
		if err != nil {
			return nil, errors.Join(err, closeAll(tables))
		}
		tables = append(tables, t)
	}
	return tables, nil
}

// closeAll closes tables.
func closeAll(tables []Table) error {
	var errs []error
	for _, t := range tables {
		errs = append(errs, t.Close())
	}
	return errors.Join(errs...)
}

// pipe is pipemap: the result of each table is the key of the next.
type pipe struct {
	name   string
	tables []Table
}

// openPipe opens pipemap:{type:name, ...}.
func openPipe(name string, o *Options) (Table, error) {
	tables, err := openMembers("pipemap", name, o)
	if err != nil {
		return nil, err
	}
	return &pipe{name: "pipemap:" + name, tables: tables}, nil
}

// Lookup implements Table.
func (p *pipe) Lookup(ctx context.Context, key string) (string, bool, error) {
	for _, t := range p.tables {
		value, ok, err := t.Lookup(ctx, key)
		if err != nil {
			return "", false, asLookupError(t, key, err)
		}
		if !ok {
			return "", false, nil
		}
		key = value
	}
	return key, true, nil
}

// Kind is that of the first table: it alone sees the key.
func (p *pipe) Kind() Kind { return p.tables[0].Kind() }

// String implements Table.
func (p *pipe) String() string { return p.name }

// Close implements Table.
func (p *pipe) Close() error { return closeAll(p.tables) }

// union is unionmap: the results of all tables, joined by commas.
type union struct {
	name   string
	tables []Table
}

// openUnion opens unionmap:{type:name, ...}.
func openUnion(name string, o *Options) (Table, error) {
	tables, err := openMembers("unionmap", name, o)
	if err != nil {
		return nil, err
	}
	return &union{name: "unionmap:" + name, tables: tables}, nil
}

// Lookup implements Table.
func (u *union) Lookup(ctx context.Context, key string) (string, bool, error) {
	var all []string
	for _, t := range u.tables {
		value, ok, err := t.Lookup(ctx, key)
		if err != nil {
			return "", false, asLookupError(t, key, err)
		}
		if ok && value != "" {
			all = append(all, value)
		}
	}
	return strings.Join(all, ","), len(all) > 0, nil
}

// Kind is that of the first table.
func (u *union) Kind() Kind { return u.tables[0].Kind() }

// String implements Table.
func (u *union) String() string { return u.name }

// Close implements Table.
func (u *union) Close() error { return closeAll(u.tables) }

// random is randmap: one of several results, whatever the key.
type random struct {
	name   string
	values []string
}

// openRandom opens randmap:{value, value}.
func openRandom(name string, _ *Options) (Table, error) {
	inner, err := braced(name)
	values := splitBraced(inner)
	if err != nil || len(values) == 0 {
		return nil, fmt.Errorf("bad syntax: \"randmap:%s\"; need \"randmap:{value...}\"", name)
	}
	return &random{name: "randmap:" + name, values: values}, nil
}

// Lookup implements Table.
func (r *random) Lookup(context.Context, string) (string, bool, error) {
	return r.values[rand.IntN(len(r.values))], true, nil
}

// Kind implements Table.
func (r *random) Kind() Kind { return Pattern }

// String implements Table.
func (r *random) String() string { return r.name }

// Close implements Table.
func (r *random) Close() error { return nil }
