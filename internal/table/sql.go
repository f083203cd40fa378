package table

import (
	"context"
	"time"
)

// sqlTable is a table in an SQL database.
type sqlTable struct {
	name  string
	query *querySpec
	*servers
	done func()
}

// sqlSettings are the settings that the SQL databases have in common.
type sqlSettings struct {
	*clientConfig
	spec  string
	query *querySpec
	idle  time.Duration
	retry time.Duration
}

// openSQL reads the common settings of type:name.
func openSQL(typ, name string, o *Options, compose func(c *clientConfig) string) (*sqlSettings, error) {
	c, err := openClientConfig(name, o)
	if err != nil {
		return nil, err
	}
	s := &sqlSettings{clientConfig: c, spec: typ + ":" + name}
	query := compose(c)
	if typ != "sqlite" {
		s.idle = time.Duration(c.number("idle_interval", 60, 1)) * time.Second
		s.retry = time.Duration(c.number("retry_interval", 0, 1)) * time.Second
	}
	if s.query, err = newQuerySpec(s.spec, c, o, query); err != nil {
		return nil, err
	}
	return s, nil
}

// Defaults of retry_interval. Postfix has the first one for all. Where there is no
// other server, a restart of the only one must not put mail off for a minute.
const (
	retryOther = time.Minute
	retryOnly  = 5 * time.Second
)

// retryAfter is for how long one of these servers is left alone when it is down.
func (s *sqlSettings) retryAfter(list []*server) time.Duration {
	switch {
	case s.retry > 0:
		return s.retry
	case len(list) == 1:
		return retryOnly
	}
	return retryOther
}

// table makes the table of the servers of a login.
func (s *sqlSettings) table(o *Options, login string, make func() *servers) *sqlTable {
	t := &sqlTable{name: s.spec, query: s.query}
	t.servers, t.done = o.pools.get(login, make)
	return t
}

// composeQuery returns the query, or what the settings from before Postfix 2.2 make
// of one.
func composeQuery(c *clientConfig) string {
	if query := c.text("query", ""); query != "" {
		return query
	}
	from, field, where := c.needed("table", ""), c.needed("select_field", ""), c.needed("where_field", "")
	return "SELECT " + field + " FROM " + from + " WHERE " + where + " = '%s' " + c.text("additional_conditions", "")
}

// Lookup implements Table.
func (t *sqlTable) Lookup(ctx context.Context, key string) (string, bool, error) {
	if ok, err := t.query.asks(ctx, key); !ok || err != nil {
		return "", false, err
	}
	return t.lookup(ctx, t.query, key)
}

// Kind is Fixed whatever the query looks like: Postfix sends derived keys too, and
// those that lack a part the query needs are not asked.
func (t *sqlTable) Kind() Kind { return Fixed }

// String implements Table.
func (t *sqlTable) String() string { return t.name }

// Close implements Table.
func (t *sqlTable) Close() error {
	t.done()
	return t.query.close()
}
