package postconf

import (
	"fmt"
	"strconv"
	"strings"
)

// Level is a compatibility level.
type Level struct{ Major, Minor, Patch int }

// ParseLevel reads "N", "N.M" or "N.M.P".
func ParseLevel(s string) (Level, error) {
	bad := fmt.Errorf("malformed compatibility level syntax: \"%s\"", clip(s))
	parts := strings.Split(s, ".")
	if len(parts) > 3 {
		return Level{}, bad
	}
	var n [3]int
	for i, part := range parts {
		v, err := strconv.ParseUint(part, 10, 31)
		if err != nil || !allDigits(part) || i > 0 && v > 1023 {
			return Level{}, bad
		}
		n[i] = int(v)
	}
	return Level{n[0], n[1], n[2]}, nil
}

// Compare returns -1, 0 or 1.
func (l Level) Compare(m Level) int {
	for _, d := range [...]int{l.Major - m.Major, l.Minor - m.Minor, l.Patch - m.Patch} {
		if d < 0 {
			return -1
		}
		if d > 0 {
			return 1
		}
	}
	return 0
}

// String returns the shortest form.
func (l Level) String() string {
	switch {
	case l.Patch != 0:
		return fmt.Sprintf("%d.%d.%d", l.Major, l.Minor, l.Patch)
	case l.Minor != 0:
		return fmt.Sprintf("%d.%d", l.Major, l.Minor)
	}
	return strconv.Itoa(l.Major)
}
