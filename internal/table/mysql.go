package table

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// mysqlUnsafeCharsets are those in which a byte of a character can look like a
// backslash, so that the server may see another text than the one that was quoted.
var mysqlUnsafeCharsets = []string{"big5", "cp932", "gb18030", "gb2312", "gbk", "sjis"}

// mysqlSockets are where the socket of a server on this machine may be.
var mysqlSockets = []string{"/run/mysqld/mysqld.sock", "/var/run/mysqld/mysqld.sock", "/var/lib/mysql/mysql.sock", "/tmp/mysql.sock"}

// mysqlLogin is who logs in and how.
type mysqlLogin struct {
	*mysql.Config
	charset string
}

// openMySQL opens mysql:/file.cf.
func openMySQL(name string, o *Options) (Table, error) {
	var login mysqlLogin
	var secure mysqlTLS
	var needResult bool
	var hosts []string
	s, err := openSQL("mysql", name, o, func(c *clientConfig) string {
		login = readMySQLLogin(c)
		secure = readMySQLTLS(c, o)
		needResult = c.yes("require_result_set", true)
		hosts = c.list("hosts")
		return composeQuery(c)
	})
	if err != nil {
		return nil, err
	}
	if len(hosts) == 0 {
		hosts = []string{"localhost"}
	}
	var list []*server
	for _, host := range hosts {
		one, err := mysqlServer(host, login, secure, needResult)
		if err != nil {
			return nil, fmt.Errorf("%s: hosts: %w", s.spec, err)
		}
		list = append(list, one)
	}
	key := fmt.Sprintf("mysql\x00%q\x00%q\x00%q\x00%q\x00%q\x00%+v\x00%v\x00%v\x00%v",
		hosts, login.User, login.Passwd, login.DBName, login.charset, secure.files, needResult, s.idle, s.retry)
	return s.table(o, key, func() *servers { return newServers(list, s.idle, s.retryAfter(list)) }), nil
}

// readMySQLLogin reads who logs in, and refuses what we do not have.
func readMySQLLogin(c *clientConfig) mysqlLogin {
	l := mysqlLogin{Config: mysql.NewConfig(), charset: strings.ToLower(c.needed("charset", "utf8mb4"))}
	l.User, l.Passwd, l.DBName = c.text("user", ""), c.text("password", ""), c.needed("dbname", "")
	if l.User == "" {
		if me, err := user.Current(); err == nil {
			l.User = me.Username
		}
	}
	l.Logger = &mysql.NopLogger{}
	l.MaxAllowedPacket = maxReceived
	switch {
	case c.text("option_file", "") != "":
		c.fail("%s: option_file is not supported: write its settings as hosts, user, password, charset and tls_* here", c.name)
	case !slices.Contains([]string{"", "client"}, c.text("option_group", "client")):
		c.fail("%s: option_group is not supported: write its settings as hosts, user, password, charset and tls_* here", c.name)
	case slices.Contains(mysqlUnsafeCharsets, l.charset):
		c.fail("%s: charset = %s cannot be quoted safely: use utf8mb4", c.name, l.charset)
	case strings.Trim(l.charset, "abcdefghijklmnopqrstuvwxyz0123456789_") != "":
		c.fail("%s: charset = %s is no name of a character set", c.name, clip(l.charset, 100))
	}
	return l
}

// mysqlServer makes the server for one item of hosts: [inet:]host[:port] or
// unix:/path. As MySQL's own client does it takes localhost for the socket.
func mysqlServer(host string, login mysqlLogin, secure mysqlTLS, needResult bool) (*server, error) {
	s := &server{name: "mysql server " + host, class: inetServer}
	cfg := *login.Config
	address, isUnix := strings.CutPrefix(host, "unix:")
	if isUnix {
		s.class = unixServer
		cfg.Net, cfg.Addr = "unix", address
	} else if err := s.mysqlAddress(&cfg, strings.TrimPrefix(host, "inet:")); err != nil {
		return nil, err
	}
	secure.apply(&cfg)
	// A copy of the settings for each connection: the driver writes to them.
	each := mysql.BeforeConnect(func(context.Context, *mysql.Config) error { return nil })
	if err := cfg.Apply(mysql.Charset(login.charset, ""), each); err != nil {
		return nil, err
	}
	s.dial = func(ctx context.Context) (session, error) { return dialMySQL(ctx, cfg.Clone(), needResult) }
	return s, nil
}

// mysqlAddress fills in the address of a host with an optional port.
func (s *server) mysqlAddress(cfg *mysql.Config, address string) error {
	host, port := address, 3306
	if i := strings.LastIndexByte(address, ':'); i >= 0 {
		var err error
		host = address[:i]
		if port, err = net.LookupPort("tcp", address[i+1:]); err != nil {
			return fmt.Errorf("unknown service: %s/tcp", address[i+1:])
		}
	}
	if strings.EqualFold(host, "localhost") {
		s.class = unixServer
		cfg.Net, cfg.Addr = "unix", ""
		return nil
	}
	cfg.Net = "tcp"
	cfg.Addr = net.JoinHostPort(strings.Trim(host, "[]"), strconv.Itoa(port))
	return nil
}

// mysqlSession is one connection to a MySQL or MariaDB server.
type mysqlSession struct {
	conn  driver.Conn
	meter meterBox
	// plainBackslash is the server's NO_BACKSLASH_ESCAPES.
	plainBackslash bool
	needResult     bool
	row            []driver.Value
}

// dialMySQL connects and logs in.
func dialMySQL(ctx context.Context, cfg *mysql.Config, needResult bool) (_ session, err error) {
	s := &mysqlSession{needResult: needResult}
	defer dialled(&s.meter, &err)
	if cfg.Net == "unix" && cfg.Addr == "" {
		cfg.Addr = mysqlSocket()
	}
	cfg.DialFunc = dialInto(&s.meter)
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	if s.conn, err = connector.Connect(ctx); err != nil {
		return nil, mysqlError(err)
	}
	mode := ""
	err = s.rows(ctx, "SELECT @@sql_mode", func(value string) bool { mode = value; return true })
	if err != nil {
		s.close()
		return nil, err
	}
	s.plainBackslash = strings.Contains(mode, "NO_BACKSLASH_ESCAPES")
	return s, nil
}

// mysqlSocket finds the socket of the server on this machine.
func mysqlSocket() string {
	for _, path := range mysqlSockets {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return mysqlSockets[0]
}

// errDoubleQuoted is the cause when a text cannot be quoted for a server in the mode
// NO_BACKSLASH_ESCAPES.
var errDoubleQuoted = errors.New("the server has NO_BACKSLASH_ESCAPES: the query must have '' quotes, not \"\"")

// ask implements session.
func (s *mysqlSession) ask(ctx context.Context, q *querySpec, key string, a *queryAnswer) error {
	quote := quoteMySQL
	if s.plainBackslash {
		if quote = doubleQuotes; q.queries[0].contains('"') {
			return refusal{errDoubleQuoted}
		}
	}
	s.meter.renew()
	return s.rows(ctx, q.query(0, key, quote), a.add)
}

// Errors of queries, in the words of Postfix.
var (
	errNoResultSet    = errors.New("query returned no result set (require_result_set = yes)")
	errManyResultSets = errors.New("multiple result sets returning data are not supported")
)

// rows runs a query and calls add for each value that is not NULL until it returns
// false.
func (s *mysqlSession) rows(ctx context.Context, query string, add func(string) bool) error {
	result, err := s.conn.(driver.QueryerContext).QueryContext(ctx, query, nil)
	if err != nil {
		return mysqlError(err)
	}
	err = s.read(result, add)
	// What was not read is read by Close, and its error counts.
	if closed := result.Close(); err == nil {
		err = mysqlError(closed)
	}
	return err
}

// read reads the rows of the one result set that there may be.
func (s *mysqlSession) read(result driver.Rows, add func(string) bool) error {
	columns := len(result.Columns())
	if columns == 0 {
		if s.needResult {
			return refusal{errNoResultSet}
		}
		return nil
	}
	s.row = slices.Grow(s.row[:0], columns)[:columns]
	for {
		err := result.Next(s.row)
		if err == io.EOF {
			break
		}
		if err != nil {
			return mysqlError(err)
		}
		for _, value := range s.row {
			if value != nil && !add(mysqlText(value)) {
				return nil
			}
		}
	}
	more, ok := result.(driver.RowsNextResultSet)
	if !ok || !more.HasNextResultSet() {
		return nil
	}
	// A stored procedure ends with a status that is no result set.
	switch err := more.NextResultSet(); {
	case err == nil:
		return refusal{errManyResultSets}
	case err != io.EOF:
		return mysqlError(err)
	}
	return nil
}

// mysqlText gives a value the form in which the server sent it.
func mysqlText(value driver.Value) string {
	switch v := value.(type) {
	case []byte:
		return string(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case uint64:
		return strconv.FormatUint(v, 10)
	case float32:
		return mysqlFloat(float64(v), 32)
	case float64:
		return mysqlFloat(v, 64)
	}
	return fmt.Sprint(value)
}

// mysqlFloat prints a number as the server does: without exponent between 1e-15 and
// 1e15, and with one that has neither sign nor leading zeros beyond.
func mysqlFloat(f float64, bits int) string {
	if size := math.Abs(f); f == 0 || size >= 1e-15 && size < 1e15 {
		return strconv.FormatFloat(f, 'f', -1, bits)
	}
	text := strconv.FormatFloat(f, 'e', -1, bits)
	return strings.NewReplacer("e+0", "e", "e-0", "e-", "e+", "e").Replace(text)
}

// mysqlError makes the errors that the server gave refusals. A message of the server
// does not quote the password.
func mysqlError(err error) error {
	var said *mysql.MySQLError
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &said):
		return err
	case slices.Contains(mysqlGone, said.Number):
		return errors.New(tame(said))
	}
	return refusal{errors.New(tame(said))}
}

// mysqlGone are the errors after which a server does not go on with a connection:
// it shuts down, ends it, or was left waiting for too long.
var mysqlGone = []uint16{1040, 1053, 1077, 1079, 1152, 1184, 1203, 1226, 1927, 4031}

// close implements session.
func (s *mysqlSession) close() { s.conn.Close() }

// quoteMySQL is the quoter of MySQL.
func quoteMySQL(b *strings.Builder, s string) {
	start := 0
	for i := 0; i < len(s); i++ {
		var c byte
		switch s[i] {
		case '\n':
			c = 'n'
		case '\r':
			c = 'r'
		case '\\', '\'', '"':
			c = s[i]
		case 0x1a:
			c = 'Z'
		default:
			continue
		}
		b.WriteString(s[start:i])
		b.WriteByte('\\')
		b.WriteByte(c)
		start = i + 1
	}
	b.WriteString(s[start:])
}
