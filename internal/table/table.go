package table

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Kind tells which keys a table wants to see.
type Kind uint8

const (
	// Fixed tables look up exact keys, folded to lower case, and also see
	// derived keys.
	Fixed Kind = iota
	// Pattern tables see complete keys only.
	Pattern
)

// Table is one open lookup table.
type Table interface {
	// Lookup returns the value for key. An error is temporary: it means that
	// nobody knows whether the key exists.
	Lookup(ctx context.Context, key string) (value string, ok bool, err error)
	// Kind tells whether derived keys may be looked up.
	Kind() Kind
	// String is the name of the table as the administrator wrote it.
	String() string
	// Close releases what the table holds.
	Close() error
}

// Entry is one key and its value.
type Entry struct {
	Key, Value string
	// Bare marks an entry that is stored without trailing NULs in a Berkeley
	// DB file, as NIS wants the entries whose names begin with YP_.
	Bare bool
}

// Lister is a Table that can list its entries in the order of its file.
type Lister interface {
	// Each calls fn for each entry until fn returns false.
	Each(fn func(Entry) bool) error
}

// Options say how tables are opened.
type Options struct {
	// QueueDir is what relative file names are relative to; empty means the
	// current directory.
	QueueDir string
	// UTF8 is smtputf8_enable: keys are folded beyond ASCII, and text that is
	// not UTF-8 is refused.
	UTF8 bool
	// DefaultType is used for a name without "type:"; when empty such a name
	// is an error.
	DefaultType string
	// KeepCase looks up keys as they are (postmap -f).
	KeepCase bool
	// NoSubstitution skips rules whose result has $number.
	NoSubstitution bool
	// Trusted is for tables whose answer becomes a command, a file name or a
	// user id: NoSubstitution, and no tables that a network peer answers.
	Trusted bool
	// Warn receives warnings, without the word "warning"; nil discards them.
	Warn func(format string, args ...any)
	// Info receives what debug: tables have to say; nil discards it.
	Info func(format string, args ...any)
	// OpenFile opens the file of a table for reading; nil is os.Open. It is there
	// for files that only root may read: Postfix opens its tables before it gives
	// up its rights.
	OpenFile func(path string) (*os.File, error)
	// Param returns a parameter of main.cf, for tables like "mysql:name" whose
	// settings are the parameters name_hosts, name_query and so on.
	Param func(name string) (value string, ok bool)
	// Place returns where the configuration names a table, for messages; nil, or an
	// empty text, when that is not known.
	Place func(spec string) string

	// depth counts tables that were opened for the list of another table.
	depth int
	// skipped counts the lines that make no sense, where it is set.
	skipped *int
	// pools has the database connections that the tables of a Set share.
	pools *pools
}

// ErrSyntax marks a table name that cannot be read at all, which is a mistake
// in the configuration and no condition that passes.
var ErrSyntax = errors.New("bad table name")

// syntaxError is the ErrSyntax of one name.
type syntaxError string

// Error gives Postfix's text.
func (e syntaxError) Error() string {
	return fmt.Sprintf("open dictionary: expecting \"type:name\" form instead of \"%s\"", string(e))
}

// Is makes it an ErrSyntax.
func (e syntaxError) Is(target error) bool { return target == ErrSyntax }

// ErrEmptyResult is the cause when a table returned an empty text.
var ErrEmptyResult = errors.New("empty string result is not allowed")

// errUnavailable is wrapped by every error of a stand-in.
var errUnavailable = errors.New("table is unavailable")

// LookupError says which table could not answer for which key.
type LookupError struct {
	// Table is "type:name".
	Table string
	// Key is what was looked up.
	Key string
	// Err is the cause.
	Err error
}

// Error gives Postfix's text for the mail log.
func (e *LookupError) Error() string {
	return fmt.Sprintf("%s lookup error for %q: %v", e.Table, clip(e.Key, 100), e.Err)
}

// Unwrap returns the cause.
func (e *LookupError) Unwrap() error { return e.Err }

// warnf sends a warning to o.Warn.
func (o *Options) warnf(format string, args ...any) {
	if o.Warn != nil {
		o.Warn(format, args...)
	}
}

// infof sends a line to o.Info.
func (o *Options) infof(format string, args ...any) {
	if o.Info != nil {
		o.Info(format, args...)
	}
}

// skipf warns of a line of a table that makes no sense.
func (o *Options) skipf(format string, args ...any) {
	if o.skipped != nil {
		*o.skipped++
	}
	o.warnf(format, args...)
}

// path makes name relative to the queue directory.
func (o *Options) path(name string) string {
	if o.QueueDir == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(o.QueueDir, name)
}

// SplitSpec splits "type:name"; typ is empty when there is no type.
func SplitSpec(spec string) (typ, name string) {
	typ, name, found := strings.Cut(spec, ":")
	if !found {
		return "", spec
	}
	return typ, name
}

// Open opens one table by its name "type:name".
func Open(spec string, o Options) (Table, error) {
	typ, name := SplitSpec(spec)
	if typ == "" && !strings.HasPrefix(spec, ":") {
		typ = o.DefaultType
	}
	if typ == "" || name == "" {
		return nil, syntaxError(spec)
	}
	t, known := FindType(typ)
	if !known {
		return nil, fmt.Errorf("unsupported dictionary type: %s", typ)
	}
	switch {
	case t.instead != "":
		return nil, fmt.Errorf("unsupported dictionary type: %s; %s", typ, t.instead)
	case t.open == nil:
		return nil, fmt.Errorf("unsupported dictionary type: %s: this version of Postroad cannot open it yet", typ)
	}
	if o.Trusted {
		o.NoSubstitution = true
		if t.remote {
			return nil, fmt.Errorf("%s: table type is not allowed for security sensitive data", spec)
		}
	}
	opened, err := t.open(name, &o)
	if err != nil {
		return nil, err
	}
	if opened.Kind() == Fixed && !t.wraps {
		return &folding{inner: opened, keepCase: o.KeepCase, utf8: o.UTF8}, nil
	}
	return opened, nil
}

// clip shortens s for a message.
func clip(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}
