package tlsmgr

import (
	"crypto/tls"
	"slices"
	"strings"
)

// versions are the protocol names of main.cf, oldest first; those with id 0
// are never spoken.
var versions = [...]struct {
	name string
	id   uint16
}{
	{"SSLv2", 0}, {"SSLv3", 0}, {"TLSv1", tls.VersionTLS10}, {"TLSv1.1", tls.VersionTLS11},
	{"TLSv1.2", tls.VersionTLS12}, {"TLSv1.3", tls.VersionTLS13},
}

// Versions reads a protocol list: ">=TLSv1.2", "<=TLSv1.3", "!SSLv3", "TLSv1.2".
// It gives the versions that are left, oldest first; there is at least one.
func Versions(param, list string) ([]uint16, error) {
	const all = 1<<len(versions) - 1
	include, exclude, bound := 0, 0, all
	for _, word := range strings.FieldsFunc(list, func(r rune) bool { return strings.ContainsRune(" \t\r\n,:", r) }) {
		op, name := "", word
		for _, prefix := range []string{">=", "<=", "!"} {
			if rest, ok := strings.CutPrefix(word, prefix); ok {
				op, name = prefix, rest
			}
		}
		i := versionIndex(name)
		if i < 0 {
			return nil, &ConfigError{param, list, "unknown protocol " + name}
		}
		switch op {
		case ">=":
			bound &= all &^ (1<<i - 1)
		case "<=":
			bound &= 1<<(i+1) - 1
		case "!":
			exclude |= 1 << i
		default:
			include |= 1 << i
		}
	}
	if include == 0 {
		include = all
	}
	var left []uint16
	for i, v := range versions {
		if v.id != 0 && include&bound&^exclude&(1<<i) != 0 {
			left = append(left, v.id)
		}
	}
	if len(left) == 0 {
		return nil, &ConfigError{param, list, "leaves no usable protocol"}
	}
	return left, nil
}

// versionRange is for a client, which cannot leave out a version between two
// others: it offers the newest without a gap.
func versionRange(param, list string) (lowest, highest uint16, err error) {
	left, err := Versions(param, list)
	if err != nil {
		return 0, 0, err
	}
	lowest, highest = left[len(left)-1], left[len(left)-1]
	for _, v := range slices.Backward(left) {
		if v+1 >= lowest {
			lowest = v
		}
	}
	return lowest, highest, nil
}

// versionIndex finds a protocol by its name or by its number in hexadecimal.
func versionIndex(name string) int {
	for i, v := range versions {
		if strings.EqualFold(v.name, name) || strings.EqualFold(v.name+".0", name) {
			return i
		}
	}
	for i, hex := range [...]string{"0200", "0300", "0301", "0302", "0303", "0304"} {
		if strings.TrimPrefix(strings.ToLower(name), "0x") == hex {
			return i
		}
	}
	return -1
}

// versionName names a version as OpenSSL does.
func versionName(id uint16) string {
	for _, v := range versions {
		if v.id == id && id != 0 {
			return v.name
		}
	}
	return "unknown"
}
