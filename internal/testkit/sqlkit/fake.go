package sqlkit

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// Answer has the rows for a query, of one column each; an error text is what the
// database says instead.
type Answer struct {
	Rows []string
	Err  string
}

// Answerer answers queries.
type Answerer func(query string) Answer

// Lookup answers a query that is nothing but a quoted text from a map, whose keys are
// in lower case. It takes the quoting back as the database would.
func Lookup(values map[string]string, backslash bool) Answerer {
	return func(query string) Answer {
		text := strings.TrimSuffix(strings.TrimPrefix(query, "'"), "'")
		var key strings.Builder
		for i := 0; i < len(text); i++ {
			if text[i] == '\'' || backslash && text[i] == '\\' {
				i++
			}
			if i < len(text) {
				key.WriteByte(text[i])
			}
		}
		if value, ok := values[key.String()]; ok {
			return Answer{Rows: []string{value}}
		}
		return Answer{}
	}
}

// listen serves each connection to a free port of 127.0.0.1 until the test ends, and
// returns the address.
func listen(t testing.TB, serve func(net.Conn) error) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	open := map[net.Conn]bool{}
	var mu sync.Mutex
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for c := range open {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[c] = true
			mu.Unlock()
			wg.Go(func() {
				if err := serve(c); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Logf("fake server: %v", err)
				}
				c.Close()
				mu.Lock()
				delete(open, c)
				mu.Unlock()
			})
		}
	})
	return l.Addr().String()
}

// Mute accepts connections and never says a word.
func Mute(t testing.TB) string {
	return listen(t, func(c net.Conn) error { _, err := io.Copy(io.Discard, c); return err })
}

// Babble sends the same bytes to each client over and over, until they are so many.
func Babble(t testing.TB, noise string, size int) string {
	noise = strings.Repeat(noise, 1+4096/len(noise))
	return listen(t, func(c net.Conn) error {
		for sent := 0; sent < size; sent += len(noise) {
			if _, err := io.WriteString(c, noise); err != nil {
				return io.EOF
			}
		}
		return nil
	})
}

// FakePgSQL speaks PostgreSQL's protocol and lets everybody in.
func FakePgSQL(t testing.TB, answer Answerer) string {
	return listen(t, func(c net.Conn) error {
		b := pgproto3.NewBackend(c, c)
		for {
			start, err := b.ReceiveStartupMessage()
			if err != nil {
				return err
			}
			if _, ok := start.(*pgproto3.StartupMessage); ok {
				break
			}
			if _, err := c.Write([]byte{'N'}); err != nil {
				return err
			}
		}
		b.Send(&pgproto3.AuthenticationOk{})
		b.Send(&pgproto3.ParameterStatus{Name: "standard_conforming_strings", Value: "on"})
		b.Send(&pgproto3.BackendKeyData{ProcessID: 1, SecretKey: []byte{0, 0, 0, 1}})
		for {
			b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
			if err := b.Flush(); err != nil {
				return err
			}
			message, err := b.Receive()
			if err != nil {
				return err
			}
			query, ok := message.(*pgproto3.Query)
			if !ok {
				return nil
			}
			a := answer(query.String)
			if a.Err != "" {
				b.Send(&pgproto3.ErrorResponse{Severity: "ERROR", Code: "42601", Message: a.Err})
				continue
			}
			b.Send(&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("v"), DataTypeOID: 25, DataTypeSize: -1, TypeModifier: -1}}})
			for _, row := range a.Rows {
				b.Send(&pgproto3.DataRow{Values: [][]byte{[]byte(row)}})
			}
			b.Send(&pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")})
		}
	})
}

// mysqlConn is the server's side of a connection in MySQL's protocol.
type mysqlConn struct {
	net.Conn
	seq byte
}

// send sends one packet.
func (c *mysqlConn) send(body string) error {
	head := []byte{byte(len(body)), byte(len(body) >> 8), byte(len(body) >> 16), c.seq}
	c.seq++
	_, err := c.Write(append(head, body...))
	return err
}

// receive reads one packet.
func (c *mysqlConn) receive() (string, error) {
	head := make([]byte, 4)
	if _, err := io.ReadFull(c, head); err != nil {
		return "", err
	}
	c.seq = head[3] + 1
	body := make([]byte, int(head[0])|int(head[1])<<8|int(head[2])<<16)
	_, err := io.ReadFull(c, body)
	return string(body), err
}

// counted is a text with its length before it.
func counted(s string) string {
	switch {
	case len(s) < 251:
		return string([]byte{byte(len(s))}) + s
	case len(s) < 1<<16:
		return string(binary.LittleEndian.AppendUint16([]byte{0xfc}, uint16(len(s)))) + s
	}
	return string([]byte{0xfd, byte(len(s)), byte(len(s) >> 8), byte(len(s) >> 16)}) + s
}

// Packets that have no parts that vary.
const (
	mysqlOK  = "\x00\x00\x00\x02\x00\x00\x00"
	mysqlEOF = "\xfe\x00\x00\x02\x00"
	// mysqlHello says protocol 10, and 4.1 with long passwords and plug-ins.
	mysqlHello = "\x0a5.5.0-fake\x00\x01\x00\x00\x00abcdefgh\x00\x01\xa2\x2d\x02\x00\x08\x00\x15" +
		"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00ijklmnopqrst\x00mysql_native_password\x00"
)

// result sends the rows of one column of text.
func (c *mysqlConn) result(rows ...string) error {
	packets := []string{"\x01", counted("def") + counted("") + counted("") + counted("") + counted("v") + counted("") + "\x0c\x2d\x00\x00\x01\x00\x00\xfd\x00\x00\x00\x00\x00", mysqlEOF}
	for _, row := range rows {
		packets = append(packets, counted(row))
	}
	for _, p := range append(packets, mysqlEOF) {
		if err := c.send(p); err != nil {
			return err
		}
	}
	return nil
}

// FakeMySQL speaks MySQL's protocol and lets everybody in.
func FakeMySQL(t testing.TB, answer Answerer) string {
	return listen(t, func(conn net.Conn) error {
		c := &mysqlConn{Conn: conn}
		if err := c.send(mysqlHello); err != nil {
			return err
		}
		if _, err := c.receive(); err != nil {
			return err
		}
		if err := c.send(mysqlOK); err != nil {
			return err
		}
		for {
			command, err := c.receive()
			if err != nil || command == "" || command[0] != 3 {
				return err
			}
			query := command[1:]
			switch {
			case query == "SELECT @@sql_mode":
				err = c.result("STRICT_TRANS_TABLES")
			case strings.HasPrefix(query, "SET "):
				err = c.send(mysqlOK)
			default:
				if a := answer(query); a.Err != "" {
					err = c.send("\xff\x28\x04#42000" + a.Err)
				} else {
					err = c.result(a.Rows...)
				}
			}
			if err != nil {
				return err
			}
		}
	})
}
