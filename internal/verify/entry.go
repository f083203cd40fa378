package verify

import (
	"strconv"
	"strings"
	"time"
)

// Status is what is known about an address.
type Status uint8

const (
	// Deliverable and the others are the numbers of Postfix's cache.
	Deliverable Status = iota
	// Deferred means that a probe could not be delivered for now.
	Deferred
	// Undeliverable means that a probe was refused for good.
	Undeliverable
	// Unknown means that a probe is under way.
	Unknown
)

// inProgress is the reason of Unknown.
const inProgress = "Address verification in progress"

// entry is a record of the cache. Probed is when the probe under way was sent,
// Updated when the last one came back; zero for none.
type entry struct {
	status          Status
	probed, updated time.Time
	text            string
}

// String gives the record as Postfix writes it: status:probed:updated:text.
func (e *entry) String() string {
	return strconv.Itoa(int(e.status)) + ":" + seconds(e.probed) + ":" + seconds(e.updated) + ":" + e.text
}

func seconds(t time.Time) string {
	if t.IsZero() {
		return "0"
	}
	return strconv.FormatInt(t.Unix(), 10)
}

// parseEntry reads a record.
func parseEntry(s string) (entry, bool) {
	fields := strings.SplitN(s, ":", 4)
	if len(fields) != 4 {
		return entry{}, false
	}
	var n [3]uint64
	for i := range n {
		var err error
		if n[i], err = strconv.ParseUint(fields[i], 10, 62); err != nil {
			return entry{}, false
		}
	}
	e := entry{status: Status(n[0]), probed: when(n[1]), updated: when(n[2]), text: fields[3]}
	return e, n[0] <= uint64(Unknown) && (n[1] != 0 || n[2] != 0)
}

func when(n uint64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(int64(n), 0)
}

// probeTTL is how long a probe may take to come back.
const probeTTL = 1000 * time.Second

// older tells whether t is more than d ago.
func older(t time.Time, d time.Duration, now time.Time) bool {
	return t.IsZero() || now.Sub(t) > d
}

// probing tells whether a probe is under way.
func (e *entry) probing(now time.Time) bool { return !older(e.probed, probeTTL, now) }

// expired tells whether the entry is too old to be used.
func (e *entry) expired(s *Settings, now time.Time) bool {
	if e.status == Deliverable {
		return older(e.updated, s.PositiveExpire, now)
	}
	return older(e.updated, s.NegativeExpire, now)
}

// stale tells whether the entry should be probed again.
func (e *entry) stale(s *Settings, now time.Time) bool {
	if e.status == Deliverable {
		return older(e.updated, s.PositiveRefresh, now)
	}
	return older(e.updated, s.NegativeRefresh, now)
}
