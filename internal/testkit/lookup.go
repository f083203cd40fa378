package testkit

import (
	"bufio"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
)

// Lookup answers one question from r of a client with a lookup table; find looks a
// key up. An error ends the connection.
type Lookup func(r *bufio.Reader, w io.Writer, find func(key string) (value string, found bool)) error

// maxQuestion bounds a question of socketmap_table(5).
const maxQuestion = 100_000

// TCPTable is the Lookup of tcp_table(5).
func TCPTable(r *bufio.Reader, w io.Writer, find func(string) (string, bool)) error {
	line, err := r.ReadString('\n')
	if err != nil {
		return err
	}
	key, err := url.PathUnescape(strings.TrimSuffix(strings.TrimPrefix(line, "get "), "\n"))
	if err != nil {
		return err
	}
	reply := "500 not%20here\n"
	if value, found := find(key); found {
		reply = "200 " + strings.ReplaceAll(url.PathEscape(value), "%2C", ",") + "\n"
	}
	_, err = io.WriteString(w, reply)
	return err
}

// Socketmap is the Lookup of socketmap_table(5), for a map of the name "map".
func Socketmap(r *bufio.Reader, w io.Writer, find func(string) (string, bool)) error {
	size, err := r.ReadString(':')
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(strings.TrimSuffix(size, ":"))
	if err != nil || n < 0 || n > maxQuestion {
		return fmt.Errorf("question of size %q: %v", size, err)
	}
	question := make([]byte, n+1)
	if _, err := io.ReadFull(r, question); err != nil {
		return err
	}
	reply := "NOTFOUND "
	if value, found := find(strings.TrimPrefix(string(question[:n]), "map ")); found {
		reply = "OK " + value
	}
	_, err = fmt.Fprintf(w, "%d:%s,", len(reply), reply)
	return err
}
