package table

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// sqliteBusy is how long a lookup waits for a writer, in milliseconds.
const sqliteBusy = 5000

// sqliteSteps is after how many steps of its machine SQLite looks at the clock.
const sqliteSteps = 1000

// errReplaced is the cause when another file took the place of the database.
var errReplaced = errors.New("the database file was replaced")

// openSQLite opens sqlite:/file.cf.
func openSQLite(name string, o *Options) (Table, error) {
	s, err := openSQL("sqlite", name, o, func(c *clientConfig) string {
		c.needed("dbpath", "")
		return composeQuery(c)
	})
	if err != nil {
		return nil, err
	}
	warnUnquoted(s, o)
	path := o.path(s.text("dbpath", ""))
	dial := func(context.Context) (session, error) { return openSQLiteFile(path) }
	return s.table(o, "sqlite\x00"+path, func() *servers {
		// To try a file again costs nothing, so there is no wait before.
		return newServers([]*server{{name: "database " + path, dial: dial}}, time.Minute, 0)
	}), nil
}

// warnUnquoted says which escapes of a query are not between single quotes: they
// may be taken for names of columns.
func warnUnquoted(s *sqlSettings, o *Options) {
	query := composeQuery(s.clientConfig)
	quote := byte(0)
	for i := 0; i < len(query); i++ {
		c := query[i]
		switch {
		case quote == 0 && (c == '\'' || c == '"'):
			quote = c
		case c == quote:
			quote = 0
		}
		if quote == '\'' || c != '%' || i+1 == len(query) {
			continue
		}
		if i++; query[i] != '%' {
			o.warnf("%s: query >%s< contains >%s< without the recommended '' quotes", s.spec, query, query[i-1:i+1])
		}
	}
}

// sqliteSession is one open database file. The library is C translated to Go; see
// pcreEngine for what it wants.
type sqliteSession struct {
	tls *libc.TLS
	db  uintptr
	// out is memory for what the library returns by address, and for the time at
	// which a query must end.
	out  cBuffer
	sql  cBuffer
	path string
	info os.FileInfo
}

// Offsets in sqliteSession.out.
const (
	outHandle   = 0
	outDeadline = 8
	outRoom     = 16
)

// openSQLiteFile opens the database for reading.
func openSQLiteFile(path string) (session, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, Reason(err)
	}
	s := &sqliteSession{tls: libc.NewTLS(), path: path, info: info}
	s.out.reserve(s.tls, outRoom)
	clear(s.out.bytes(outRoom))
	s.sql.set(s.tls, path+"\x00")
	rc := sqlite3.Xsqlite3_open_v2(s.tls, s.sql.address, s.out.address+outHandle, sqlite3.SQLITE_OPEN_READONLY, 0)
	s.db = *(*uintptr)(pointer(s.out.address + outHandle))
	if rc != sqlite3.SQLITE_OK {
		err := errors.New(s.message())
		s.close()
		return nil, err
	}
	sqlite3.Xsqlite3_busy_timeout(s.tls, s.db, sqliteBusy)
	sqlite3.Xsqlite3_limit(s.tls, s.db, sqlite3.SQLITE_LIMIT_LENGTH, maxAnswer)
	sqlite3.Xsqlite3_progress_handler(s.tls, s.db, sqliteSteps, functionAddress(sqliteOverdue), s.out.address)
	return s, nil
}

// functionAddress is what the translated library takes for the address of a C
// function.
func functionAddress(f func(*libc.TLS, uintptr) int32) uintptr {
	return *(*uintptr)(unsafe.Pointer(&struct {
		f func(*libc.TLS, uintptr) int32
	}{f}))
}

// sqliteOverdue is the progress handler: it ends a query whose time is over.
func sqliteOverdue(_ *libc.TLS, out uintptr) int32 {
	if time.Now().UnixNano() > *(*int64)(pointer(out + outDeadline)) {
		return 1
	}
	return 0
}

// message is the library's text for what went wrong last.
func (s *sqliteSession) message() string {
	if s.db == 0 {
		return "out of memory"
	}
	return libc.GoString(sqlite3.Xsqlite3_errmsg(s.tls, s.db))
}

// ask implements session. As in Postfix the first statement of the query and the
// first column of its rows count.
func (s *sqliteSession) ask(ctx context.Context, q *querySpec, key string, a *queryAnswer) error {
	if info, err := os.Stat(s.path); err != nil || !sameFile(info, s.info) {
		return errReplaced
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(queryTime)
	}
	*(*int64)(pointer(s.out.address + outDeadline)) = deadline.UnixNano()
	s.sql.set(s.tls, q.query(0, key, quoteSQLite)+"\x00")
	rc := sqlite3.Xsqlite3_prepare_v2(s.tls, s.db, s.sql.address, -1, s.out.address+outHandle, 0)
	if s.sql.size > maxKeptSubject {
		s.sql.free(s.tls)
	}
	if rc != sqlite3.SQLITE_OK {
		return s.error("SQL prepare failed", rc)
	}
	statement := *(*uintptr)(pointer(s.out.address + outHandle))
	defer sqlite3.Xsqlite3_finalize(s.tls, statement)
	for ctx.Err() == nil {
		switch rc := sqlite3.Xsqlite3_step(s.tls, statement); rc {
		case sqlite3.SQLITE_DONE:
			return nil
		case sqlite3.SQLITE_ROW:
			text := sqlite3.Xsqlite3_column_text(s.tls, statement, 0)
			if text != 0 && !a.add(libc.GoString(text)) {
				return nil
			}
		default:
			return s.error("SQL step failed", rc)
		}
	}
	return ctx.Err()
}

// sameFile tells whether a path still leads to the file that is open. The device and
// the inode are compared, as os.SameFile does.
func sameFile(a, b os.FileInfo) bool {
	x, ok := a.Sys().(*syscall.Stat_t)
	y, also := b.Sys().(*syscall.Stat_t)
	return ok && also && x.Ino == y.Ino && x.Dev == y.Dev
}

// error makes the error for a result code. All leave the connection in order but
// those that say the file is not what it was.
func (s *sqliteSession) error(what string, rc int32) error {
	err := fmt.Errorf("%s: %s", what, tame(errors.New(s.message())))
	switch rc & 0xff {
	case sqlite3.SQLITE_INTERRUPT:
		return fmt.Errorf("%w: %w", context.DeadlineExceeded, err)
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_CANTOPEN:
		return err
	}
	return refusal{err}
}

// close implements session.
func (s *sqliteSession) close() {
	if s.db != 0 {
		sqlite3.Xsqlite3_close_v2(s.tls, s.db)
	}
	s.out.free(s.tls)
	s.sql.free(s.tls)
	s.tls.Close()
}

// quoteSQLite is the quoter of SQLite, where a backslash has no meaning.
func quoteSQLite(b *strings.Builder, s string) { doubleQuotes(b, s) }

// doubleQuotes appends s with its single quotes doubled.
func doubleQuotes(b *strings.Builder, s string) {
	for {
		i := strings.IndexByte(s, '\'')
		if i < 0 {
			b.WriteString(s)
			return
		}
		b.WriteString(s[:i+1])
		b.WriteByte('\'')
		s = s[i+1:]
	}
}
