package agent

import (
	"bufio"
	"io"
	"strings"

	"postroad/internal/mail"
)

// maxHeader bounds how much of a header is searched for Delivered-To.
const maxHeader = 1 << 20

// hasDelivered tells whether a message went through this address before: its
// header has a Delivered-To with it.
func hasDelivered(c mail.Content, addr mail.Address) (bool, error) {
	want := strings.ToLower(addr.External())
	if b := c.Bytes(); b != nil {
		return scanDelivered(strings.NewReader(string(b[:min(len(b), maxHeader)])), want)
	}
	r, err := c.Open()
	if err != nil {
		return false, err
	}
	defer func() { _ = r.Close() }()
	return scanDelivered(io.LimitReader(r, maxHeader), want)
}

func scanDelivered(r io.Reader, want string) (bool, error) {
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadString('\n')
		text := strings.TrimRight(line, "\r\n")
		if text == "" || err != nil {
			if err == io.EOF {
				err = nil
			}
			return false, err
		}
		name, value, ok := strings.Cut(text, ":")
		if ok && strings.EqualFold(strings.TrimSpace(name), "Delivered-To") && strings.ToLower(strings.TrimSpace(value)) == want {
			return true, nil
		}
	}
}
