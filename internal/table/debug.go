package table

import (
	"context"
	"strings"
)

// debugTable is debug:type:name, which logs each access to the inner table.
type debugTable struct {
	renamed
	log func(format string, args ...any)
}

// openDebug opens debug:type:name.
func openDebug(name string, o *Options) (Table, error) {
	if !strings.Contains(name, ":") {
		return nil, syntaxError(name)
	}
	t, err := Open(name, *o)
	if err != nil {
		return nil, err
	}
	return &debugTable{renamed: renamed{Table: t, name: "debug:" + name}, log: o.infof}, nil
}

// Lookup implements Table.
func (d *debugTable) Lookup(ctx context.Context, key string) (string, bool, error) {
	value, ok, err := d.Table.Lookup(ctx, key)
	said := value
	switch {
	case err != nil:
		said = "error"
	case !ok:
		said = "not_found"
	}
	d.log("%s lookup: \"%s\" = \"%s\"", d.Table, key, said)
	return value, ok, err
}

// Each implements Lister when the inner table does.
func (d *debugTable) Each(fn func(Entry) bool) error {
	more := true
	err := d.renamed.Each(func(e Entry) bool {
		d.log("%s sequence: \"%s\" = \"%s\"", d.Table, e.Key, e.Value)
		more = fn(e)
		return more
	})
	if err == nil && more {
		d.log("%s sequence: found EOF", d.Table)
	}
	return err
}
