package testkit

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"net"
	"strings"
)

// Accept serves each connection of a listener, until it is closed.
func Accept(l net.Listener, serve func(net.Conn)) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		// goroutine: one connection; ends with it.
		go serve(conn)
	}
}

// ServeLogins is as much of Dovecot's auth service as smtpd(8) needs. Whoever knows
// that the password is "secret" is let in.
func ServeLogins(conn net.Conn) {
	defer func() { _ = conn.Close() }() // the client is gone
	fmt.Fprint(conn, "VERSION\t1\t1\nMECH\tPLAIN\tplaintext\nMECH\tLOGIN\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\t0123456789abcdef0123456789abcdef\nDONE\n")
	in := bufio.NewScanner(conn)
	for in.Scan() {
		f := strings.Split(in.Text(), "\t")
		if f[0] != "AUTH" || len(f) < 3 {
			continue
		}
		user, good := "", false
		for _, p := range f[2:] {
			if text, ok := strings.CutPrefix(p, "resp="); ok {
				raw, _ := base64.StdEncoding.DecodeString(text) // nonsense has no parts
				if parts := strings.Split(string(raw), "\x00"); len(parts) == 3 {
					user, good = parts[1], parts[2] == "secret"
				}
			}
		}
		answer := "FAIL"
		if good {
			answer = "OK"
		}
		fmt.Fprintf(conn, "%s\t%s\tuser=%s\n", answer, f[1], user)
	}
}
