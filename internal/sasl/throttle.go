package sasl

import (
	"bytes"
	"container/list"
	"context"
	"crypto/sha256"
	"errors"
	"strings"
	"sync"
	"time"
)

// maxThrottled bounds how many accounts are counted; the longest known goes first.
const maxThrottled = 50_000

// Throttle counts failed logins per account, from whatever address they come, and
// refuses further attempts for a while without asking anybody. A login that works
// takes nothing back: its owner would else give an attacker new attempts with
// each mail. It is safe for concurrent use.
type Throttle struct {
	mu       sync.Mutex
	accounts map[accountKey]*list.Element
	// order has the accounts as *failures, the one that began first in front.
	order *list.List
}

// accountKey stands for a login name, so that long names cost no memory.
type accountKey [16]byte

// failures are those of one account since began.
type failures struct {
	key   accountKey
	began time.Time
	count int
}

// Limit is how many failures an account may have within a time; no Count is no
// limit.
type Limit struct {
	Count  int
	Window time.Duration
}

// NewThrottle returns a Throttle that has counted nothing.
func NewThrottle() *Throttle {
	return &Throttle{accounts: map[accountKey]*list.Element{}, order: list.New()}
}

// key folds case: what else is one account, only its backend knows.
func (t *Throttle) key(account string) accountKey {
	sum := sha256.Sum256([]byte(strings.ToLower(account)))
	return accountKey(sum[:16])
}

// find returns the failures of an account within the window, or nil. The lock is
// held.
func (t *Throttle) find(key accountKey, window time.Duration) *failures {
	e := t.accounts[key]
	if e == nil {
		return nil
	}
	f := e.Value.(*failures)
	if time.Since(f.began) < window {
		return f
	}
	t.remove(e)
	return nil
}

func (t *Throttle) remove(e *list.Element) {
	delete(t.accounts, e.Value.(*failures).key)
	t.order.Remove(e)
}

// blocked tells whether an account has failed too often.
func (t *Throttle) blocked(account string, limit Limit) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.find(t.key(account), limit.Window)
	return f != nil && f.count >= limit.Count
}

// fail counts a failure.
func (t *Throttle) fail(account string, limit Limit) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := t.key(account)
	if f := t.find(key, limit.Window); f != nil {
		f.count++
		return
	}
	if t.order.Len() >= maxThrottled {
		t.remove(t.order.Front())
	}
	t.accounts[key] = t.order.PushBack(&failures{key: key, began: time.Now(), count: 1})
}

// Begin is srv.Begin under a limit.
func (t *Throttle) Begin(ctx context.Context, srv Server, r *Request, limit Limit) (Exchange, error) {
	x, err := srv.Begin(ctx, r)
	if err != nil || t == nil || limit.Count <= 0 {
		return x, err
	}
	return &throttled{Exchange: x, throttle: t, limit: limit, request: r}, nil
}

// throttled is an exchange under a limit.
type throttled struct {
	Exchange
	throttle *Throttle
	limit    Limit
	request  *Request
	begun    bool
	// account is the name that the client gave.
	account string
}

// Username implements Exchange.
func (x *throttled) Username() string {
	if name := x.Exchange.Username(); name != "" {
		return name
	}
	return x.account
}

// Next implements Exchange.
func (x *throttled) Next(ctx context.Context, response []byte) ([]byte, bool, error) {
	said := response
	if !x.begun {
		x.begun, said = true, x.request.Initial
	}
	if x.account == "" {
		x.account = namedIn(x.request.Mechanism, said)
		if x.account != "" && x.throttle.blocked(x.account, x.limit) {
			return nil, false, &TemporaryError{Reason: "Too many failed logins of this account", Throttled: true}
		}
	}
	challenge, done, err := x.Exchange.Next(ctx, response)
	if account := x.Username(); account != "" && errors.Is(err, ErrAuth) {
		x.throttle.fail(account, x.limit)
	}
	return challenge, done, err
}

// names has one row per kind of mechanism whose responses tell the account.
var names = [...]struct {
	mech string // the beginning of the name
	find func(response []byte) string
}{
	{"PLAIN", func(r []byte) string { _, user, _, _ := parsePlain(r); return user }},
	{"LOGIN", func(r []byte) string { return string(r) }},
	{"CRAM-MD5", func(r []byte) string { user, _, _ := parseCram(string(r)); return user }},
	{"DIGEST-MD5", func(r []byte) string { return between(r, `username="`, `"`) }},
	{"SCRAM-", scramName},
	{"XOAUTH2", func(r []byte) string { return between(r, "user=", "\x01") }},
	{"OAUTHBEARER", func(r []byte) string { return unquoteName(between(r, "n,a=", ",")) }},
}

// namedIn finds the account in a response; empty if it is not told there.
func namedIn(mech string, response []byte) string {
	mech = strings.ToUpper(mech)
	for _, row := range names {
		if strings.HasPrefix(mech, row.mech) && len(response) > 0 {
			return row.find(response)
		}
	}
	return ""
}

// between returns what stands between two texts.
func between(r []byte, before, after string) string {
	_, rest, ok := bytes.Cut(r, []byte(before))
	if !ok {
		return ""
	}
	name, _, ok := bytes.Cut(rest, []byte(after))
	if !ok {
		return ""
	}
	return string(name)
}

// scramName finds the name in the first message (RFC 5802 7): behind the header,
// which ends with the second comma.
func scramName(r []byte) string {
	parts := bytes.SplitN(r, []byte(","), 4)
	if len(parts) < 4 || !bytes.HasPrefix(parts[2], []byte("n=")) {
		return ""
	}
	return unquoteName(string(parts[2][2:]))
}

// unquoteName undoes the quoting of RFC 5802 5.1.
func unquoteName(s string) string {
	return strings.NewReplacer("=2C", ",", "=3D", "=").Replace(s)
}
