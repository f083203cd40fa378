package table

import "context"

// Maps is the list of tables of one parameter. The nil Maps and the empty one
// find nothing.
type Maps struct {
	param  string
	tables []Table
	warn   func(format string, args ...any)
}

// Hit is what a search found.
type Hit struct {
	// Value is the text of the table, never empty when Found.
	Value string
	// Key is the key that matched, in the form in which it was looked up.
	Key string
	// Table is the name of the table that answered.
	Table string
	// Extension is the address extension, with its delimiter, that was not
	// part of the key that matched.
	Extension string
	// DomainKey tells that an "@domain" key matched.
	DomainKey bool
	Found     bool
}

// Empty tells whether there are no tables, so that a caller can save the
// trouble of making keys.
func (m *Maps) Empty() bool { return m == nil || len(m.tables) == 0 }

// Param is the name of the parameter, for messages.
func (m *Maps) Param() string {
	if m == nil {
		return ""
	}
	return m.param
}

// Lookup asks all tables, in order, for a complete key.
func (m *Maps) Lookup(ctx context.Context, key string) (Hit, error) {
	return m.find(ctx, key, false)
}

// LookupFixed asks the fixed tables, in order, for a derived key.
func (m *Maps) LookupFixed(ctx context.Context, key string) (Hit, error) {
	return m.find(ctx, key, true)
}

// find asks the tables for key. An error has been logged when it returns.
func (m *Maps) find(ctx context.Context, key string, derived bool) (Hit, error) {
	if m == nil || key == "" {
		return Hit{}, nil
	}
	for _, t := range m.tables {
		if derived && t.Kind() != Fixed {
			continue
		}
		value, ok, err := t.Lookup(ctx, key)
		if ok && value == "" && err == nil {
			m.warn("%s lookup of %s returns an empty string result", m.param, key)
			m.warn("%s should return NO RESULT in case of NOT FOUND", m.param)
			err = ErrEmptyResult
		}
		if err != nil {
			err = asLookupError(t, key, err)
			m.warn("%v", err)
			return Hit{}, err
		}
		if ok {
			hit := Hit{Value: value, Key: key, Table: t.String(), Found: true}
			tell(ctx, m.param, hit)
			return hit, nil
		}
	}
	return Hit{}, nil
}

// asLookupError names table and key unless the error does already.
func asLookupError(t Table, key string, err error) error {
	if _, named := err.(*LookupError); named {
		return err
	}
	return &LookupError{Table: t.String(), Key: key, Err: err}
}
