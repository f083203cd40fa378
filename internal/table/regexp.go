package table

import (
	"regexp"
	"unicode/utf8"
)

// regexpFlags are the letters of a regexp: pattern and what they toggle:
// ignore case (on), multi-line (off), extended syntax (on).
const regexpFlags = "imx"

// openRegexp opens regexp:path or regexp:{ {rule}, ... }.
func openRegexp(name string, o *Options) (Table, error) {
	return openRules("regexp", name, o, func(lines []logicalLine, o *Options) Table {
		return parsePatterns(newPOSIX(), name, lines, o)
	})
}

// newPOSIX returns the engine of one table.
func newPOSIX() *engine {
	run := &pcreEngine{}
	e := &engine{typ: "regexp", flags: regexpFlags, outOfRange: "out-of-range"}
	e.compile = func(pattern string, toggled uint32) (matcher, error) {
		return compilePOSIX(run, pattern, posixSyntax{
			fold:     toggled&1 == 0,
			lines:    toggled&2 != 0,
			extended: toggled&4 == 0,
		})
	}
	return e
}

// posixRegexp is a POSIX expression as a Go regular expression, leftmost and
// longest. regex(3) works on bytes in the C locale, so bytes above ASCII are
// given as runes of their own, which no case folding touches.
type posixRegexp struct {
	re    *regexp.Regexp
	count int
}

// byteRune is the rune for byte 0; it is in Unicode's private use area.
const byteRune = 0xE000

// match implements matcher.
func (p *posixRegexp) match(key string, wantSpans bool) (bool, []int, error) {
	subject := key
	for i := 0; i < len(key); i++ {
		if key[i] >= utf8.RuneSelf {
			subject = widen(key)
			break
		}
	}
	if !wantSpans {
		return p.re.MatchString(subject), nil, nil
	}
	spans := p.re.FindStringSubmatchIndex(subject)
	if spans == nil {
		return false, nil, nil
	}
	if len(subject) != len(key) {
		for i, at := range spans {
			if at >= 0 {
				spans[i] = utf8.RuneCountInString(subject[:at])
			}
		}
	}
	return true, spans, nil
}

// groups implements matcher.
func (p *posixRegexp) groups() int { return p.count }

// widen writes each byte above ASCII as a rune.
func widen(s string) string {
	out := make([]byte, 0, len(s)*3)
	for i := 0; i < len(s); i++ {
		if s[i] < utf8.RuneSelf {
			out = append(out, s[i])
		} else {
			out = utf8.AppendRune(out, byteRune+rune(s[i]))
		}
	}
	return string(out)
}

// compilePOSIX compiles a POSIX expression. Expressions that Go cannot express
// (back references, word ends, huge repeats) go to PCRE2, which finds the
// first match where POSIX wants the longest.
func compilePOSIX(run *pcreEngine, pattern string, syntax posixSyntax) (matcher, error) {
	t, err := translatePOSIX(pattern, syntax)
	if err != nil {
		return nil, err
	}
	if t.needPCRE {
		options := uint32(0)
		if syntax.fold {
			options |= pcreCaseless
		}
		return run.compile(t.perl, options)
	}
	re, err := regexp.Compile(t.text)
	if err != nil {
		// Only limits are left to complain about: repeats and size.
		return run.compile(t.perl, map[bool]uint32{true: pcreCaseless}[syntax.fold])
	}
	re.Longest()
	return &posixRegexp{re: re, count: re.NumSubexp()}, nil
}
