package cli

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"postroad/internal/postconf"
)

// pcMode is a set of options of postconf(1).
type pcMode uint32

// The options.
const (
	pcSASLServer pcMode = 1 << iota
	pcSASLClient
	pcLocks
	pcMaps
	pcTLS
	pcTemplates
	pcMain
	pcEntry
	pcField
	pcParam
	pcInherited
	pcDefaults
	pcNonDefault
	pcSet
	pcComment
	pcDelete
	pcFold
	pcExpand
	pcHideName
	pcHideValue
	pcJSON
	pcOverride
	pcClass
	pcQuiet
)

// The groups of options.
const (
	pcEdit  = pcSet | pcComment | pcDelete
	pcMajor = pcSASLServer | pcSASLClient | pcLocks | pcMaps | pcTLS | pcTemplates | pcMain | pcEntry | pcField | pcParam
)

// pcOptions has the letter of each option, in the order in which messages name
// them.
var pcOptions = []struct {
	mode pcMode
	name string
}{
	{pcSASLServer, "-a"}, {pcSASLClient, "-A"}, {pcTemplates, "-b"}, {pcClass, "-C"},
	{pcDefaults, "-d"}, {pcSet, "-e"}, {pcFold, "-f"}, {pcField, "-F"},
	{pcHideName, "-h"}, {pcHideValue, "-H"}, {pcJSON, "-j"}, {pcLocks, "-l"},
	{pcMaps, "-m"}, {pcEntry, "-M"}, {pcNonDefault, "-n"}, {pcOverride, "-o"},
	{pcMain, "-p"}, {pcParam, "-P"}, {pcTLS, "-T"}, {pcExpand, "-x"},
	{pcDelete, "-X"}, {pcComment, "-#"}, {pcInherited, "-PP"},
}

// pcExclusive are the options of which only one may be given.
var pcExclusive = []pcMode{
	pcMajor,
	pcInherited | pcEdit,
	pcDefaults | pcNonDefault | pcEdit,
	pcFold | pcEdit,
	pcExpand | pcEdit,
	pcOverride | pcDefaults | pcEdit,
	pcHideName | pcHideValue | pcEdit,
}

// pcAlong has, for an option, those that may go along with it.
var pcAlong = [][2]pcMode{
	{pcSASLServer, 0}, {pcSASLClient, 0}, {pcTemplates, 0}, {pcLocks, 0}, {pcMaps, 0}, {pcTLS, 0},
	{pcMain, pcEdit | pcFold | pcHideName | pcClass | pcExpand | pcDefaults | pcNonDefault | pcOverride | pcHideValue | pcJSON},
	{pcEntry, pcEdit | pcFold | pcOverride | pcExpand | pcJSON},
	{pcField, pcSet | pcFold | pcHideName | pcOverride | pcExpand | pcHideValue | pcJSON},
	{pcParam, pcSet | pcDelete | pcFold | pcHideName | pcOverride | pcExpand | pcHideValue | pcJSON | pcInherited},
	{pcInherited, pcFold | pcHideName | pcOverride | pcExpand | pcHideValue | pcJSON | pcParam},
	{pcJSON, pcMain | pcEntry | pcField | pcParam | pcOverride | pcExpand | pcNonDefault | pcDefaults},
	{pcClass, pcMain | pcDefaults | pcNonDefault},
}

// postconfCmd is one run of postconf(1).
type postconfCmd struct {
	*Env
	mode      pcMode
	dir       string
	classes   postconf.Class
	overrides []postconf.Override
	tls       string
	// expanded tells -b from -t.
	expanded bool
	args     []string

	cfg   *postconf.Config
	usage *postconf.Usage
}

// errReported ends the command after a message of its own.
var errReported = errors.New("reported")

// runPostconf shows or edits main.cf and master.cf.
func runPostconf(e *Env) int {
	p := &postconfCmd{Env: e, dir: postconf.DefaultDir, classes: postconf.Builtin | postconf.PerService | postconf.User}
	if dir := e.Getenv("MAIL_CONFIG"); dir != "" {
		p.dir = dir
	}
	err := p.parseOptions()
	if err == nil {
		err = p.run()
	}
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errReported):
		return 1
	default:
		return e.Fatalf(1, "%s", inASCII(err.Error()))
	}
}

// Warnf writes a warning. postconf works before smtputf8_enable is known, so its
// messages are ASCII.
func (p *postconfCmd) Warnf(format string, args ...any) {
	p.Env.Warnf("%s", inASCII(fmt.Sprintf(format, args...)))
}

// inASCII returns s with "?" for each byte that is not ASCII.
func inASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= utf8.RuneSelf {
			b[i] = '?'
		}
	}
	return string(b)
}

// parseOptions reads the command line.
func (p *postconfCmd) parseOptions() error {
	flags := map[byte]pcMode{
		'a': pcSASLServer, 'A': pcSASLClient, 'b': pcTemplates, 'd': pcDefaults, 'e': pcSet,
		'f': pcFold, 'F': pcField, 'h': pcHideName, 'H': pcHideValue, 'j': pcJSON,
		'l': pcLocks, 'm': pcMaps, 'M': pcEntry, 'n': pcNonDefault, 'p': pcMain,
		'q': pcQuiet, 't': pcTemplates, 'x': pcExpand, 'X': pcDelete, '#': pcComment,
	}
	g := NewGetopt(p.Args, "aAbc:C:deEfFhHjlmMno:pPqtT:vxX#")
	for {
		opt, err := g.Next()
		if err != nil {
			return p.usageError()
		}
		switch opt {
		case 0:
			p.args = g.Args()
			return p.checkOptions()
		case 'c':
			p.dir = g.Arg
		case 'C':
			if err := p.parseClass(g.Arg); err != nil {
				return err
			}
			p.mode |= pcClass
		case 'o':
			name, value, err := splitAssignment(g.Arg)
			if err != nil {
				return err
			}
			p.overrides = append(p.overrides, postconf.Override{Name: name, Value: value})
			p.mode |= pcOverride
		case 'P':
			if p.mode&pcParam != 0 {
				p.mode |= pcInherited
			}
			p.mode |= pcParam
		case 'T':
			if p.mode&pcTLS != 0 {
				p.Fatalf(1, "At most one -T <mode> option may be specified")
				return errReported
			}
			p.mode |= pcTLS
			p.tls = g.Arg
		case 'v':
		default:
			flag, ok := flags[opt]
			if !ok {
				return p.usageError()
			}
			p.mode |= flag
			p.expanded = opt == 'b' || p.expanded && opt != 't'
		}
	}
}

// splitAssignment reads the argument of -o.
func splitAssignment(arg string) (name, value string, err error) {
	edit, err := postconf.ParseMainEdit(postconf.EditSet, arg)
	if err != nil {
		why, _, _ := strings.Cut(err.Error(), ": \"")
		return "", "", errors.New("invalid parameter override: " + arg + ": " + why)
	}
	return edit.Name, edit.Value, nil
}

// parseClass reads the argument of -C.
func (p *postconfCmd) parseClass(arg string) error {
	p.classes = 0
	for _, word := range postconf.SplitList(arg) {
		switch strings.ToLower(word) {
		case "builtin":
			p.classes |= postconf.Builtin
		case "service":
			p.classes |= postconf.PerService
		case "user":
			p.classes |= postconf.User
		case "all":
			p.classes |= postconf.Builtin | postconf.PerService | postconf.User
		default:
			return errors.New("unknown -C option value \"" + word + "\" in \"" + arg + "\"")
		}
	}
	return nil
}

// usageError is what an unknown option leads to.
func (p *postconfCmd) usageError() error {
	return errors.New("usage: " + p.Prog + " [-a (server SASL types)] [-A (client SASL types)] [-c config_dir]" +
		" [-C param_class] [-d (parameter defaults)] [-e (edit configuration)] [-f (fold lines)]" +
		" [-F (master.cf fields)] [-h (no names)] [-H (no values)] [-j (streaming JSON)] [-l (lock types)]" +
		" [-m (map types)] [-M (master.cf)] [-n (non-default parameters)] [-o name=value (override parameter value)]" +
		" [-p (main.cf, default)] [-P (master.cf parameters)] [-q (no warnings)]" +
		" [-T compile-version|run-version|public-key-algorithms] [-v (verbose)]" +
		" [-x (expand parameter values)] [-X (exclude)] [-# (comment-out)] [name...]")
}

// checkOptions completes the options and reports those that do not go together.
func (p *postconfCmd) checkOptions() error {
	if p.mode&pcMajor == 0 {
		p.mode |= pcMain
	}
	if p.mode&(pcMain|pcEntry|pcField|pcParam) != 0 && len(p.args) > 0 && strings.IndexByte(p.args[0], '=') >= 0 {
		p.mode |= pcSet
	}
	for _, group := range pcExclusive {
		if both := p.mode & group; both&(both-1) != 0 {
			return errors.New("specify one of " + optionNames(both, ", "))
		}
	}
	for _, row := range pcAlong {
		if excess := p.mode &^ (row[0] | row[1] | pcQuiet); p.mode&row[0] != 0 && excess != 0 {
			return errors.New("with option " + optionNames(row[0], " ") + ", do not specify " + optionNames(excess, " "))
		}
	}
	if p.mode&pcSet != 0 && len(p.args) == 0 {
		return errors.New("-e requires name=value argument")
	}
	if p.mode&pcEdit != 0 && len(p.args) == 0 {
		return errors.New("missing service argument")
	}
	return nil
}

// optionNames returns the letters of a set of options.
func optionNames(mode pcMode, between string) string {
	var names []string
	for _, o := range pcOptions {
		if mode&o.mode != 0 {
			names = append(names, o.name)
		}
	}
	return strings.Join(names, between)
}

// run does what the options say.
func (p *postconfCmd) run() error {
	switch {
	case p.mode&pcMaps != 0:
		return p.showMaps()
	case p.mode&pcLocks != 0:
		p.Printf("flock\nfcntl\ndotlock\n")
		return nil
	case p.mode&pcSASLServer != 0:
		p.Printf("dovecot\n")
		return nil
	case p.mode&pcSASLClient != 0:
		// The mechanisms are our own; configurations choose them by this name.
		p.Printf("cyrus\n")
		return nil
	case p.mode&pcTLS != 0:
		return p.showTLS()
	case p.mode&pcTemplates != 0:
		return p.showTemplates()
	case p.mode&pcEdit != 0 && p.mode&pcMain != 0:
		return p.editMain()
	case p.mode&pcEdit != 0:
		return p.editMaster()
	}
	if err := p.load(); err != nil {
		return err
	}
	var err error
	switch {
	case p.mode&pcMain != 0:
		err = p.showMain()
	case p.mode&pcEntry != 0:
		err = p.showEntries()
	case p.mode&pcField != 0:
		err = p.showFields()
	default:
		err = p.showParams()
	}
	if err != nil {
		return err
	}
	p.showWarnings()
	return nil
}
