package postscreen

import (
	"strconv"
	"strings"
)

// check is one of the tests that a client must pass.
type check uint8

// The tests, in the order of a record of the cache.
const (
	pregreet check = iota
	dnsbl
	pipelining
	nonSMTP
	bareNewline
	checks
)

// set is a set of tests.
type set uint8

func only(c check) set { return 1 << c }

// early are the tests before the greeting, deep those of the protocol.
const (
	early set = 1<<pregreet | 1<<dnsbl
	deep  set = 1<<pipelining | 1<<nonSMTP | 1<<bareNewline
)

func (s set) has(c check) bool { return s&only(c) != 0 }

// Times that are none.
const (
	// never means that the test was never passed.
	never = 0
	// disabled means that it was never passed because it was off.
	disabled = 1
)

// stamps are the times, in seconds since 1970, until which the results of the
// tests are good.
type stamps [checks]int64

// todo are the tests that have no good result at a time.
func (t *stamps) todo(enabled set, now int64) set {
	var s set
	for c := range checks {
		if enabled.has(c) && now > t[c] {
			s |= only(c)
		}
	}
	return s
}

// fresh tells whether some test was never passed although it was on.
func (t *stamps) fresh() bool {
	for _, at := range t {
		if at == never {
			return true
		}
	}
	return false
}

// settle marks tests that are off, so that a client is not new again when one of
// them is turned on.
func (t *stamps) settle(enabled set) {
	for c := range checks {
		if !enabled.has(c) && t[c] == never {
			t[c] = disabled
		}
	}
}

// parseStamps reads a record of the cache. What an older Postfix did not write
// was off then.
func parseStamps(text string) stamps {
	var t stamps
	fields := strings.Split(text, ";")
	for c := range t {
		t[c] = disabled
		if c < len(fields) {
			if n, err := strconv.ParseInt(fields[c], 10, 64); err == nil && n >= 0 {
				t[c] = n
			}
		}
	}
	return t
}

// append writes a record.
func (t *stamps) append(dst []byte) []byte {
	for c, at := range t {
		if c > 0 {
			dst = append(dst, ';')
		}
		dst = strconv.AppendInt(dst, at, 10)
	}
	return dst
}

// action is what becomes of a client that fails a test.
type action uint8

const (
	// ignore lets other tests decide, enforce refuses all mail, drop hangs up.
	ignore action = iota
	enforce
	drop
)

// actions are their names; continue is an old one.
var actions = map[string]action{"ignore": ignore, "continue": ignore, "enforce": enforce, "drop": drop}
