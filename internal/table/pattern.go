package table

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// matcher is one compiled regular expression, safe for concurrent use.
type matcher interface {
	// match tells whether key matches. When spans is wanted it returns begin
	// and end of each group, -1 for groups that took no part.
	match(key string, wantSpans bool) (ok bool, spans []int, err error)
	// groups is the number of groups in the expression.
	groups() int
}

// engine is what regexp: and pcre: do not share.
type engine struct {
	typ string
	// flags lists the letters behind a pattern.
	flags string
	// compile compiles a pattern; toggled has a bit per letter of flags. An
	// error is a mistake in the pattern.
	compile func(pattern string, toggled uint32) (matcher, error)
	// outOfRange is how the type says that a group does not exist.
	outOfRange string
	// obsolete lists flags that are ignored with a warning.
	obsolete string
}

// patternTable is regexp: or pcre: the first rule that matches wins.
type patternTable struct {
	name  string
	rules []patternRule
	warn  func(format string, args ...any)
}

// patternRule is one line.
type patternRule struct {
	op     ruleOp
	negate bool
	re     matcher
	result *template
	where  string
	// skip is, for an if, the rule behind its endif.
	skip int
}

// Errors of pattern rules, in the words of Postfix.
var (
	errNoPattern      = errors.New("no regexp: skipping this rule")
	errSubstitution   = errors.New("regular expression substitution is not allowed: skipping this rule")
	errNegateGroups   = errors.New("$number found in negative match replacement text: skipping this rule")
	errUnknownTarget  = errors.New("ignoring unrecognized request")
	errEndifAlone     = errors.New("ignoring ENDIF without matching IF")
	errBadReplacement = errors.New("bad replacement syntax: skipping this rule")
)

// parsePatterns makes a regexp: or pcre: table of lines.
func parsePatterns(e *engine, name string, lines []logicalLine, o *Options) *patternTable {
	t := &patternTable{name: e.typ + ":" + name, warn: o.warnf}
	var ifs ruleStack
	for _, line := range lines {
		p := ruleParser{engine: e, options: o, where: fmt.Sprintf("%s map %s, line %d", e.typ, name, line.number)}
		r, err := p.parse(line.text)
		if err == nil && r.op == opEndif {
			if i, ok := ifs.pop(); ok {
				t.rules[i].skip = len(t.rules)
				continue
			}
			err = errEndifAlone
		}
		if err != nil {
			o.skipf("%s: %v", p.where, err)
			continue
		}
		if r.op == opIf {
			ifs.push(len(t.rules), line.number)
		}
		t.rules = append(t.rules, r)
	}
	for len(ifs.rules) > 0 {
		line := ifs.lines[len(ifs.lines)-1]
		i, _ := ifs.pop()
		o.skipf("%s map %s, line %d: IF has no matching ENDIF", e.typ, name, line)
		t.rules[i].skip = len(t.rules)
	}
	return t
}

// ruleParser reads one rule.
type ruleParser struct {
	engine  *engine
	options *Options
	where   string
}

func (p *ruleParser) warnf(format string, args ...any) {
	p.options.warnf("%s: %s", p.where, fmt.Sprintf(format, args...))
}

// parse reads a line. The error says what becomes of the line.
func (p *ruleParser) parse(text string) (r patternRule, err error) {
	r.where = p.where
	switch {
	case !isAlnum(text[0]):
		text, err = p.pattern(text, &r)
		if err != nil {
			return r, err
		}
		return r, p.result(text, &r)
	case isKeyword(text, "if"):
		r.op = opIf
		text, err = p.pattern(trimSpace(text[2:]), &r)
		if err == nil && text != "" {
			p.warnf("ignoring extra text after IF statement: \"%s\"", text)
			p.warnf("do not prepend whitespace to statements between IF and ENDIF")
		}
		return r, err
	case isKeyword(text, "endif"):
		r.op = opEndif
		if trimSpace(text[5:]) != "" {
			p.warnf("ignoring extra text after ENDIF")
		}
		return r, nil
	}
	return r, errUnknownTarget
}

// pattern reads [!]/pattern/flags and returns the text behind it.
func (p *ruleParser) pattern(text string, r *patternRule) (rest string, err error) {
	bare := strings.TrimLeft(text, "!"+asciiSpace)
	r.negate = strings.Count(text[:len(text)-len(bare)], "!")%2 == 1
	if bare == "" {
		return "", errNoPattern
	}
	delimiter, end := bare[0], 1
	for end < len(bare) && bare[end] != delimiter {
		if bare[end] == '\\' {
			end++
		}
		end++
	}
	if end >= len(bare) {
		what := "skipping"
		if p.engine.typ == "pcre" {
			what = "ignoring"
		}
		return "", fmt.Errorf("no closing regexp delimiter \"%c\": %s this rule", delimiter, what)
	}
	expression, flags := bare[1:end], bare[end+1:]
	toggled := uint32(0)
	for flags != "" && !isSpace(flags[0]) && flags[0] != '!' {
		i := strings.IndexByte(p.engine.flags, flags[0])
		switch {
		case i >= 0:
			toggled ^= 1 << i
		case strings.IndexByte(p.engine.obsolete, flags[0]) >= 0:
			p.warnf("ignoring obsolete regexp option \"%c\"", flags[0])
		default:
			return "", fmt.Errorf("unknown regexp option \"%c\": skipping this rule", flags[0])
		}
		flags = flags[1:]
	}
	r.re, err = p.engine.compile(expression, toggled)
	return trimSpace(flags), err
}

// result reads the text behind a pattern.
func (p *ruleParser) result(text string, r *patternRule) error {
	if text == "" {
		p.warnf("no replacement text: using empty string")
	}
	result, errs := parseTemplate(text, p.engine.outOfRange)
	for _, err := range errs {
		p.warnf("%v", err)
	}
	if len(errs) > 0 {
		return errBadReplacement
	}
	r.result = result
	switch highest := r.result.highest; {
	case highest > 0 && r.negate:
		return errNegateGroups
	case highest > 0 && p.options.NoSubstitution:
		return errSubstitution
	case highest > r.re.groups():
		return fmt.Errorf("out of range replacement index \"%d\": skipping this rule", highest)
	}
	return nil
}

// Lookup implements Table. An expression that gives up on a key (match limit)
// is logged and does not match, as in Postfix: a peer must not be able to make
// every lookup of a table fail with a hard key.
func (t *patternTable) Lookup(_ context.Context, key string) (string, bool, error) {
	for i := 0; i < len(t.rules); i++ {
		r := &t.rules[i]
		want := r.result != nil && r.result.highest > 0
		ok, spans, err := r.re.match(key, want)
		if err != nil {
			t.warn("%s: %v", r.where, err)
			// Neither the rule nor its negation is known to apply.
			ok = r.negate
		}
		ok = ok != r.negate
		switch {
		case r.op == opIf && !ok:
			i = r.skip - 1
		case r.op == opResult && ok && want:
			return r.result.expand(key, spans), true, nil
		case r.op == opResult && ok:
			return r.result.text[0], true, nil
		}
	}
	return "", false, nil
}

// Kind implements Table.
func (t *patternTable) Kind() Kind { return Pattern }

// String implements Table.
func (t *patternTable) String() string { return t.name }

// Close implements Table. The memory of compiled expressions goes when nobody
// can use it any more, not before: a lookup may still be under way.
func (t *patternTable) Close() error { return nil }
