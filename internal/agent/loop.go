package agent

import (
	"bufio"
	"bytes"
	"io"
	"strings"

	"postroad/internal/mail"
)

// maxHeader bounds how much of a header is searched for Delivered-To.
const maxHeader = 1 << 20

// deliveredTo lists the addresses that a message went through before: those of
// the Delivered-To fields of its header, in lower case.
func deliveredTo(c mail.Content) (map[string]bool, error) {
	if b := c.Bytes(); b != nil {
		return scanDelivered(bytes.NewReader(b[:min(len(b), maxHeader)]))
	}
	r, err := c.Open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	return scanDelivered(io.LimitReader(r, maxHeader))
}

func scanDelivered(r io.Reader) (map[string]bool, error) {
	in := bufio.NewReader(r)
	var found map[string]bool
	for {
		line, err := in.ReadString('\n')
		text := strings.TrimRight(line, "\r\n")
		name, value, ok := strings.Cut(text, ":")
		if ok && strings.EqualFold(strings.TrimSpace(name), "Delivered-To") {
			if found == nil {
				found = map[string]bool{}
			}
			found[strings.ToLower(strings.TrimSpace(value))] = true
		}
		if text == "" || err != nil {
			if err == io.EOF {
				err = nil
			}
			return found, err
		}
	}
}
