package sasl

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"postroad/internal/table"
)

// Bounds of the conversation with saslauthd.
const (
	saslauthdTimeout = 30 * time.Second
	saslauthdAnswer  = 1024
)

// saslauthd asks the daemon of Cyrus SASL on its unix socket. Each question has a
// connection of its own, as the daemon wants it.
type saslauthd struct {
	realms
	path, service string
}

// lookup implements accounts: the daemon gives no passwords away.
func (a *saslauthd) lookup(context.Context, string) (string, bool, error) {
	return "", false, errors.New("saslauthd does not tell passwords")
}

// verify implements verifier.
func (a *saslauthd) verify(ctx context.Context, user, password string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, saslauthdTimeout)
	defer cancel()
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, "unix", a.path)
	if err != nil {
		return false, fmt.Errorf("cannot connect to saslauthd server: %w", systemReason(err))
	}
	defer c.Close()
	if t, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(t) // an error shows at the next step
	}
	name, realm := a.split(user)
	if _, err := c.Write(saslauthdRequest(name, password, a.service, realm)); err != nil {
		return false, fmt.Errorf("write to saslauthd server: %w", systemReason(err))
	}
	answer, err := readSaslauthd(c)
	if err != nil {
		return false, fmt.Errorf("size read failed: %w", systemReason(err))
	}
	switch {
	case strings.HasPrefix(answer, "OK"):
		return true, nil
	case strings.HasPrefix(answer, "NO"):
		return false, nil
	}
	return false, errors.New("saslauthd server gave an answer that is neither OK nor NO")
}

// saslauthdRequest is a question: four texts, each behind its length.
func saslauthdRequest(fields ...string) []byte {
	var b []byte
	for _, f := range fields {
		b = binary.BigEndian.AppendUint16(b, uint16(min(len(f), maxPassword)))
		b = append(b, f[:min(len(f), maxPassword)]...)
	}
	return b
}

// readSaslauthd reads an answer: one text behind its length.
func readSaslauthd(r io.Reader) (string, error) {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return "", err
	}
	n := binary.BigEndian.Uint16(size[:])
	if n < 2 || n > saslauthdAnswer {
		return "", errors.New("bad response length from saslauthd")
	}
	text := make([]byte, n)
	_, err := io.ReadFull(r, text)
	return string(text), err
}

// systemReason is the system's text of an error, as C programs log it.
func systemReason(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		err = syscall.ETIMEDOUT
	}
	return table.Reason(err)
}
