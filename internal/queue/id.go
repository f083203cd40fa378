package queue

import (
	"strings"
	"sync"
	"time"

	"postroad/internal/mail"
)

// longDigits is the alphabet of Postfix's long queue ids: no vowels, so that
// no words come out by chance.
const longDigits = "0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz"

const shortDigits = "0123456789ABCDEF"

// ids hands out queue ids. Numbers are microseconds that never repeat within
// one store, not even when the clock goes back.
type ids struct {
	mu   sync.Mutex
	last int64
	long bool
}

// next returns an unused id; now is the wall clock.
func (g *ids) next(now time.Time) mail.QueueID {
	g.mu.Lock()
	n := max(now.UnixMicro(), g.last+1)
	g.last = n
	long := g.long
	g.mu.Unlock()
	if long {
		return longID(n)
	}
	return shortID(n)
}

// mark returns the highest number given out so far.
func (g *ids) mark() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.last
}

// shortID writes the microseconds as five hexadecimal digits and 28 bits of the
// seconds as seven, which repeats after eight years.
func shortID(n int64) mail.QueueID {
	var b [12]byte
	micro, sec := n%1e6, n/1e6
	for i := 4; i >= 0; i-- {
		b[i] = shortDigits[micro&15]
		micro >>= 4
	}
	for i := 11; i >= 5; i-- {
		b[i] = shortDigits[sec&15]
		sec >>= 4
	}
	return mail.QueueID(b[:])
}

// longID writes seconds (six digits or more) and microseconds (four) in base
// 52, then "z" and a digit where Postfix puts the inode number in base 51.
func longID(n int64) mail.QueueID {
	return mail.QueueID(base52(n/1e6, 6) + base52(n%1e6, 4) + "z" + base52(n%51, 1))
}

func base52(n int64, width int) string {
	var b []byte
	for n > 0 || len(b) < width {
		b = append(b, longDigits[n%52])
		n /= 52
	}
	for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
		b[i], b[j] = b[j], b[i]
	}
	return string(b)
}

// ValidID tells whether s has the form of a queue id, short or long.
func ValidID(s string) bool {
	if len(s) < 6 || len(s) > 24 {
		return false
	}
	for i := 0; i < len(s); i++ {
		if !strings.ContainsRune(longDigits+"AEIOU", rune(s[i])) {
			return false
		}
	}
	return true
}
