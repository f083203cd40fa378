package cli

import (
	"fmt"
	"strings"
)

// Getopt walks over arguments as getopt(3) does for Postfix's commands: options
// may be bundled ("-ti"), an argument may be attached ("-fa@b") or be the next
// word ("-f a@b"), "--" ends the options, and so does the first word that is
// not an option.
type Getopt struct {
	args []string
	spec string
	// rest is what is left of the current bundle.
	rest string
	// Arg is the argument of the option that Next returned.
	Arg string
}

// NewGetopt returns a Getopt over args. In spec each letter is an option; one
// that takes an argument is followed by ":".
func NewGetopt(args []string, spec string) *Getopt {
	return &Getopt{args: args, spec: spec}
}

// Next returns the next option letter, or 0 at the end of the options. An
// unknown option or a missing argument is an error whose text is getopt's own;
// the walk can go on after it.
func (g *Getopt) Next() (byte, error) {
	g.Arg = ""
	if g.rest == "" {
		if len(g.args) == 0 {
			return 0, nil
		}
		word := g.args[0]
		if word == "--" {
			g.args = g.args[1:]
			return 0, nil
		}
		if len(word) < 2 || word[0] != '-' {
			return 0, nil
		}
		g.args, g.rest = g.args[1:], word[1:]
	}
	opt := g.rest[0]
	g.rest = g.rest[1:]
	at := strings.IndexByte(g.spec, opt)
	if at < 0 || opt == ':' {
		return opt, fmt.Errorf("invalid option -- '%c'", opt)
	}
	if at+1 == len(g.spec) || g.spec[at+1] != ':' {
		return opt, nil
	}
	if g.rest != "" {
		g.Arg, g.rest = g.rest, ""
		return opt, nil
	}
	if len(g.args) == 0 {
		return opt, fmt.Errorf("option requires an argument -- '%c'", opt)
	}
	g.Arg, g.args = g.args[0], g.args[1:]
	return opt, nil
}

// Args returns the words that are not consumed yet. In the middle of a bundle
// it does not include the rest of the bundle.
func (g *Getopt) Args() []string { return g.args }

// Peek returns the next word when Next would start a new one; it is for the
// options of sendmail that getopt cannot describe.
func (g *Getopt) Peek() (string, bool) {
	if g.rest != "" || len(g.args) == 0 {
		return "", false
	}
	return g.args[0], true
}

// Skip consumes the word that Peek returned.
func (g *Getopt) Skip() { g.args = g.args[1:] }
