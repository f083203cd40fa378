//go:build oracle

package box

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	Main(map[string]Job{"look": look, "fail": fail, "leave": leave, "hang": hang})
	os.Exit(m.Run())
}

// seen is what the job "look" finds.
type seen struct {
	Input, Host, Resolver, User, Peer string
	Code                              int
	Listening                         bool
}

// look writes into the box and looks around in it.
func look(ctx context.Context, b *Box, input json.RawMessage) (any, error) {
	var s seen
	if err := json.Unmarshal(input, &s.Input); err != nil {
		return nil, err
	}
	for _, p := range []string{"/etc/postroad-box-test", "/var/mail/postroad-box-test", "/var/log/postroad-box-test"} {
		if err := os.WriteFile(p, []byte("x"), 0o600); err != nil {
			return nil, err
		}
	}
	var err error
	if s.Host, err = os.Hostname(); err != nil {
		return nil, err
	}
	if err := b.ServeDNS("name.test. A 192.0.2.77\n"); err != nil {
		return nil, err
	}
	out, err := b.Must(ctx, "getent ahostsv4 name.test | head -1")
	if err != nil {
		return nil, err
	}
	s.Resolver = strings.Fields(out.Stdout)[0]
	if out, err = b.Exec(ctx, Command{Line: "id -un; exit 3", User: "bob"}); err != nil {
		return nil, err
	}
	s.User, s.Code = strings.TrimSpace(out.Stdout), out.Code
	l, err := b.Listen("127.0.0.1:25")
	if err != nil {
		return nil, err
	}
	s.Listening = listening(25)
	s.Peer, err = peerOf(ctx, b, l)
	return s, errors.Join(err, l.Close())
}

// peerOf is the address that a connection from another network shows.
func peerOf(ctx context.Context, b *Box, local net.Listener) (string, error) {
	conn, err := b.Dial(ctx, "127.0.0.9", local.Addr().String())
	if err != nil {
		return "", err
	}
	defer conn.Close()
	got, err := local.Accept()
	if err != nil {
		return "", err
	}
	defer got.Close()
	host, _, err := net.SplitHostPort(got.RemoteAddr().String())
	return host, err
}

// fail returns an error.
func fail(context.Context, *Box, json.RawMessage) (any, error) {
	return nil, errors.New("as told")
}

// leave starts a process and goes away without it; its number is that of the
// outer system, for which it asks through a file.
func leave(ctx context.Context, b *Box, _ json.RawMessage) (any, error) {
	_, err := b.Must(ctx, "sleep 471147 >/dev/null 2>&1 & echo left")
	return nil, err
}

// hang does not end by itself.
func hang(context.Context, *Box, json.RawMessage) (any, error) {
	// A timer, because the runtime ends a program that waits for nothing at all.
	<-time.After(time.Hour)
	return nil, nil
}

func TestBox(t *testing.T) {
	t.Parallel()
	var s seen
	if err := Run(t.Context(), Options{Subject: Postfix()}, "look", "hello", &s); err != nil {
		t.Fatal(err)
	}
	want := seen{Input: "hello", Host: HostName, Resolver: "192.0.2.77", User: "bob", Code: 3, Peer: "127.0.0.9", Listening: true}
	if s != want {
		t.Errorf("got %+v", s)
	}
	for _, p := range []string{"/etc/postroad-box-test", "/var/mail/postroad-box-test", "/var/log/postroad-box-test"} {
		if _, err := os.Stat(p); err == nil {
			t.Errorf("%s has left the box", p)
		}
	}
	if h, err := os.Hostname(); err != nil || h == HostName {
		t.Errorf("the host is named %s (%v)", h, err)
	}
}

func TestBoxError(t *testing.T) {
	t.Parallel()
	err := Run(t.Context(), Options{Subject: Postfix()}, "fail", nil, nil)
	if err == nil || !strings.Contains(err.Error(), "as told") {
		t.Errorf("got %v", err)
	}
	if err := Run(t.Context(), Options{Subject: Postfix()}, "no such job", nil, nil); err == nil {
		t.Error("an unknown job was done")
	}
}

func TestBoxLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	if err := Run(t.Context(), Options{Subject: Postfix()}, "leave", nil, nil); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%s/cmdline", e.Name()))
		if err == nil && strings.Contains(string(text), "471147") {
			t.Errorf("process %s has outlived its box", e.Name())
		}
	}
}

func TestBoxEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	err := Run(ctx, Options{Subject: Postfix()}, "hang", nil, nil)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestStageWithoutProgram(t *testing.T) {
	t.Parallel()
	if _, err := Stage("postroad", t.TempDir(), t.TempDir()); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("got %v", err)
	}
}
