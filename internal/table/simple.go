package table

import (
	"context"
	"fmt"
	"os"
	"strings"
)

// static is static: one answer for every key.
type static struct{ name, value string }

// openStatic opens static:text and static:{text with space}.
func openStatic(name string, _ *Options) (Table, error) {
	value := name
	if strings.HasPrefix(name, "{") {
		inner, err := braced(name)
		if err != nil {
			return nil, fmt.Errorf("bad static:name syntax: %w", err)
		}
		value = trimSpace(inner)
	}
	return &static{name: "static:" + name, value: value}, nil
}

// Lookup implements Table.
func (s *static) Lookup(context.Context, string) (string, bool, error) { return s.value, true, nil }

// Kind implements Table.
func (s *static) Kind() Kind { return Fixed }

// String implements Table.
func (s *static) String() string { return s.name }

// Close implements Table.
func (s *static) Close() error { return nil }

// openInternal opens internal:name, a table in the memory of a process of
// Postfix, which begins empty and which nothing in a configuration fills.
func openInternal(name string, _ *Options) (Table, error) {
	return &memory{name: "internal:" + name}, nil
}

// environ is environ: the environment of the process.
type environ struct{ name string }

// openEnviron opens environ:name; the name means nothing.
func openEnviron(name string, _ *Options) (Table, error) {
	return &environ{name: "environ:" + name}, nil
}

// Lookup implements Table.
func (e *environ) Lookup(_ context.Context, key string) (string, bool, error) {
	value, ok := os.LookupEnv(key)
	return value, ok, nil
}

// Kind implements Table.
func (e *environ) Kind() Kind { return Fixed }

// String implements Table.
func (e *environ) String() string { return e.name }

// Close implements Table.
func (e *environ) Close() error { return nil }

// errFail is what fail: says.
var errFail error = words("Application error")

// failing is fail: every access fails, for tests of a configuration.
type failing struct{ name string }

// openFail opens fail:name.
func openFail(name string, _ *Options) (Table, error) { return &failing{name: "fail:" + name}, nil }

// writeFail fails.
func writeFail(path string, _ []Entry, _ WriteOptions) error {
	return fmt.Errorf("table fail:%s: write error: %w", path, errFail)
}

// Lookup implements Table.
func (f *failing) Lookup(_ context.Context, key string) (string, bool, error) {
	return "", false, errFail
}

// Kind implements Table.
func (f *failing) Kind() Kind { return Pattern }

// String implements Table.
func (f *failing) String() string { return f.name }

// Close implements Table.
func (f *failing) Close() error { return nil }

// Each fails, like everything else.
func (f *failing) Each(func(Entry) bool) error { return fmt.Errorf("sequence error: %w", errFail) }
