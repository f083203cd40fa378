package table

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os/user"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// openPgSQL opens pgsql:/file.cf.
func openPgSQL(name string, o *Options) (Table, error) {
	var login pgsqlLogin
	s, err := openSQL("pgsql", name, o, func(c *clientConfig) string {
		login = readPgSQLLogin(c)
		return composePgSQL(c)
	})
	if err != nil {
		return nil, err
	}
	var list []*server
	for _, host := range login.hosts {
		one, err := pgsqlServer(host, &login)
		if err != nil {
			return nil, fmt.Errorf("%s: hosts: %w", s.spec, err)
		}
		list = append(list, one)
	}
	key := fmt.Sprintf("pgsql\x00%q\x00%v\x00%v", login, s.idle, s.retry)
	return s.table(o, key, func() *servers { return newServers(list, s.idle, s.retryAfter(list)) }), nil
}

// composePgSQL is composeQuery with select_function, which goes before the other old
// settings.
func composePgSQL(c *clientConfig) string {
	if function := c.text("select_function", ""); function != "" && c.text("query", "") == "" {
		return "SELECT " + function + "('%s')"
	}
	return composeQuery(c)
}

// pgsqlLogin is who logs in where.
type pgsqlLogin struct {
	hosts                            []string
	user, password, dbname, encoding string
}

// readPgSQLLogin reads the settings of the connection.
func readPgSQLLogin(c *clientConfig) pgsqlLogin {
	l := pgsqlLogin{
		hosts: c.list("hosts"), user: c.text("user", ""), password: c.text("password", ""),
		dbname: c.text("dbname", ""), encoding: c.needed("encoding", "UTF8"),
	}
	if len(l.hosts) == 0 {
		l.hosts = []string{"localhost"}
	}
	if !safePgSQLEncoding(l.encoding) {
		c.fail("%s: encoding = %s cannot be quoted safely: use UTF8", c.name, clip(l.encoding, 100))
	}
	return l
}

// pgsqlEncodings are the beginnings of the names of encodings in which no byte of a
// longer character looks like a quote or a backslash.
var pgsqlEncodings = []string{"UTF8", "UNICODE", "SQLASCII", "LATIN", "ISO8859", "WIN125", "WIN866", "WIN874", "WINDOWS125", "KOI8", "EUC"}

// safePgSQLEncoding tells whether a key can be quoted in an encoding.
func safePgSQLEncoding(name string) bool {
	plain := strings.NewReplacer("-", "", "_", "").Replace(strings.ToUpper(name))
	for _, prefix := range pgsqlEncodings {
		if strings.HasPrefix(plain, prefix) {
			return true
		}
	}
	return false
}

// pgsqlServer makes the server for one item of hosts: a connection URI, a directory
// with a socket after an optional "unix:", or [inet:]host[:port].
func pgsqlServer(host string, login *pgsqlLogin) (*server, error) {
	s := &server{name: "pgsql server " + host}
	if strings.Contains(host, "://") {
		s.class, s.name = uriServer, "pgsql server "+nameOfURI(host)
		cfg, err := pgsqlConfig(host, login.encoding)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		s.dial = func(ctx context.Context) (session, error) { return dialPgSQL(ctx, cfg) }
		return s, nil
	}
	if login.dbname == "" {
		return nil, fmt.Errorf("host target '%s' requires dbname setting", host)
	}
	address, port := host, ""
	for _, prefix := range []string{"unix:", "inet:"} {
		if rest, ok := strings.CutPrefix(host, prefix); ok {
			address = rest
			break
		}
	}
	if s.class = inetServer; address == "" || address[0] == '/' {
		s.class = unixServer
	} else if i := strings.LastIndexByte(address, ':'); i >= 0 {
		address, port = strings.Trim(address[:i], "[]"), address[i+1:]
		if _, err := net.LookupPort("tcp", port); err != nil {
			return nil, fmt.Errorf("unknown service: %s/tcp", port)
		}
	}
	cfg, err := pgsqlConfig(login.settings(address, port), login.encoding)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.name, err)
	}
	s.dial = func(ctx context.Context) (session, error) { return dialPgSQL(ctx, cfg) }
	return s, nil
}

// nameOfURI is a connection URI for messages: without user, password and parameters.
func nameOfURI(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "connection URI"
	}
	return u.Scheme + "://" + u.Host + u.Path
}

// settings writes the login as libpq's "key = value" text. As in libpq a dbname with
// "=" in it is such a text itself.
func (l *pgsqlLogin) settings(host, port string) string {
	var b strings.Builder
	add := func(key, value string) {
		if value != "" {
			fmt.Fprintf(&b, " %s='%s'", key, strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(value))
		}
	}
	if strings.Contains(l.dbname, "=") {
		b.WriteString(l.dbname)
	} else {
		add("dbname", l.dbname)
	}
	add("host", host)
	add("port", port)
	add("user", l.user)
	add("password", l.password)
	return b.String()
}

// Parameters of libpq that the driver does not know: those that make no difference
// to us, and those that would be a promise that is not kept.
var (
	pgsqlHarmless = []string{
		"fallback_application_name", "gssdelegation", "keepalives", "keepalives_count", "keepalives_idle", "keepalives_interval",
		"load_balance_hosts", "sslcompression", "tcp_user_timeout",
	}
	pgsqlRefused = []string{
		"gssencmode", "gsslib", "replication", "requirepeer", "ssl_max_protocol_version", "ssl_min_protocol_version", "sslcrl", "sslcrldir",
	}
)

// errConnection is the cause when a connection URI or dbname makes no sense. What is
// wrong is not said, because the password is part of the text.
var errConnection = errors.New("bad connection parameters")

// pgsqlConfig makes the driver's settings.
func pgsqlConfig(text, encoding string) (*pgconn.Config, error) {
	cfg, err := pgconn.ParseConfig(text)
	if err != nil {
		return nil, errConnection
	}
	for _, name := range pgsqlHarmless {
		delete(cfg.RuntimeParams, name)
	}
	if mode := cfg.RuntimeParams["gssencmode"]; mode == "disable" || mode == "prefer" {
		delete(cfg.RuntimeParams, "gssencmode")
	}
	for _, name := range pgsqlRefused {
		if _, set := cfg.RuntimeParams[name]; set {
			return nil, fmt.Errorf("the connection parameter %s is not supported", name)
		}
	}
	if cfg.User == "" {
		if me, err := user.Current(); err == nil {
			cfg.User = me.Username
		}
	}
	cfg.RuntimeParams["client_encoding"] = encoding
	cfg.MaxProtocolMessageBodyLen = maxReceived
	return cfg, nil
}

// pgsqlSession is one connection to a PostgreSQL server.
type pgsqlSession struct {
	conn  *pgconn.PgConn
	meter meterBox
}

// dialPgSQL connects and logs in.
func dialPgSQL(ctx context.Context, shared *pgconn.Config) (_ session, err error) {
	s := new(pgsqlSession)
	defer dialled(&s.meter, &err)
	cfg := shared.Copy()
	cfg.DialFunc = dialInto(&s.meter)
	if s.conn, err = pgconn.ConnectConfig(ctx, cfg); err != nil {
		return nil, tamed{err}
	}
	return s, nil
}

// ask implements session. The query goes as it is, as one text, so that a pooler of
// connections between us and the server has nothing to keep. Of several statements
// the last counts, as with libpq.
func (s *pgsqlSession) ask(ctx context.Context, q *querySpec, key string, a *queryAnswer) error {
	quote := quotePgSQL
	if s.conn.ParameterStatus("standard_conforming_strings") == "on" {
		quote = doubleQuotes
	}
	s.meter.renew()
	results := s.conn.Exec(ctx, q.query(0, key, quote))
	complete := false
	for more := true; more && results.NextResult(); {
		a.restart()
		rows := results.ResultReader()
		for more && rows.NextRow() {
			for _, value := range rows.Values() {
				more = more && a.add(string(value))
			}
		}
		tag, _ := rows.Close()
		complete = tag.String() != ""
	}
	err := results.Close()
	switch {
	case err == nil && !complete:
		return errNonsense
	case err == nil:
		return nil
	case errors.As(err, new(*pgconn.PgError)) && !s.conn.IsClosed():
		return refusal{tamed{err}}
	}
	return tamed{err}
}

// tamed is an error of the driver with its text made fit for the log.
type tamed struct{ error }

// Error implements error.
func (t tamed) Error() string { return tame(t.error) }

// Unwrap returns the cause.
func (t tamed) Unwrap() error { return t.error }

// pgsqlTerminate is the message that ends a connection.
var pgsqlTerminate = []byte{'X', 0, 0, 0, 4}

// close implements session. The driver would wait for the server to close first.
func (s *pgsqlSession) close() {
	conn := s.conn.Conn()
	if conn.SetDeadline(time.Now().Add(100*time.Millisecond)) == nil && !s.conn.IsClosed() {
		conn.Write(pgsqlTerminate)
	}
	conn.Close()
}

// quotePgSQL is the quoter for a server whose plain ” texts have backslash escapes.
func quotePgSQL(b *strings.Builder, s string) { doubleQuotes(b, strings.ReplaceAll(s, `\`, `\\`)) }
