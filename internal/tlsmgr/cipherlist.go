package tlsmgr

import (
	"slices"
	"strings"
)

// Grades are the cipher lists that the words high and medium stand for, in the
// language of openssl-ciphers(1); an empty one stands for every suite.
type Grades struct{ High, Medium string }

// list finds the cipher list of a grade. The lower grades are the medium one, as
// in Postfix since 3.8.
func (g *Grades) list(param, grade string) (from, list string, err error) {
	switch strings.ToLower(grade) {
	case "high":
		return "tls_high_cipherlist", g.High, nil
	case "medium", "low", "export":
		return "tls_medium_cipherlist", g.Medium, nil
	case "null":
		return "", "", &ConfigError{param, grade, "suites without encryption are not supported"}
	}
	return "", "", &ConfigError{param, grade, "not one of high, medium"}
}

// Suites gives the suites of a grade without the excluded ones. missing are the
// selectors of its list that choose nothing here.
func (g *Grades) Suites(param, grade, exclude string) (ids []uint16, missing []string, err error) {
	from, list, err := g.list(param, grade)
	if err != nil {
		return nil, nil, err
	}
	if list == "" {
		list = "ALL"
	}
	var set cipherSet
	for _, rule := range splitList(list) {
		set.apply(rule)
	}
	for _, word := range splitList(exclude) {
		set.apply("!" + strings.TrimLeft(word, "!-"))
	}
	for i := range suites {
		if set.active[i] && !set.killed[i] {
			ids = append(ids, suites[i].id)
		}
	}
	if len(ids) == 0 {
		return nil, nil, &ConfigError{param, grade, "no cipher suite of " + from + " is left that is supported"}
	}
	return ids, set.missing, nil
}

func splitList(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return strings.ContainsRune(" \t\r\n,:;", r) })
}

// cipherSet is a list of ciphers while its rules are applied. The order of the
// list is not kept: Go has one of its own.
type cipherSet struct {
	active, killed [len(suites)]bool
	missing        []string
}

// apply does what a rule of openssl-ciphers(1) says: add, "-" remove, "!" remove
// for good, "+" move (which changes the order only), "@" a command.
func (c *cipherSet) apply(rule string) {
	op, selector := rule[0], rule
	if strings.IndexByte("-!+@", op) >= 0 {
		selector = rule[1:]
	}
	found := false
	for i := range suites {
		if !suites[i].matches(selector) {
			continue
		}
		found = true
		switch op {
		case '!':
			c.killed[i] = true
		case '-':
			c.active[i] = false
		case '+', '@':
		default:
			c.active[i] = true
		}
	}
	if !found && selector == rule && !slices.Contains(c.missing, rule) {
		c.missing = append(c.missing, rule)
	}
}

// weak are selectors of what nobody misses.
var weak = [...]string{"aNULL", "eNULL", "NULL", "MEDIUM", "LOW", "EXP", "EXPORT", "RC4", "3DES", "DES", "SSLv2"}

// missed makes a complaint of selectors without suites; nothing when none of them
// chooses anything of worth.
func missed(param string, selectors []string) string {
	var left []string
	for _, s := range selectors {
		parts := strings.Split(s, "+")
		if !slices.ContainsFunc(parts, func(p string) bool { return slices.Contains(weak[:], p) }) {
			left = append(left, s)
		}
	}
	if len(left) == 0 {
		return ""
	}
	text := strings.Join(left[:min(len(left), 10)], ", ")
	if len(left) > 10 {
		text += ", ..."
	}
	return param + ": the TLS library has no suites for " + text
}
