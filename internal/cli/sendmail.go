package cli

import (
	"fmt"
	"path/filepath"
	"strings"

	"postroad/internal/mail"
)

// exTempfail is the exit code of every fatal error of sendmail.
const exTempfail = 75

// sendmailMode is what an invocation of sendmail is for.
type sendmailMode byte

const (
	modeEnqueue sendmailMode = iota
	modeAliases
	modeMailq
	modeDaemon
	modeSMTP
	modeFlush
	modeIgnore
)

// sendmailOptions are the parsed command line of sendmail.
type sendmailOptions struct {
	mode sendmailMode
	// sender is -f; hasSender tells it from none.
	sender              string
	hasSender           bool
	fullName            string
	extract, dotIsEnd   bool
	probe               bool
	verbose             int
	notify              mail.Notify
	ret                 mail.Ret
	envid, verp         string
	encoding            string
	gateway             bool
	aliasFile           string
	flushSite, flushID  string
	interval            bool
	recipients          []string
	verpGiven           bool
	smtputf8, verpCheck bool
	// requireTLS is -O requiretls=yes, requireTLSArg how it was written.
	requireTLS    bool
	requireTLSArg string
}

// optionError is a failure in Postfix's words, which may begin with a capital
// letter.
type optionError string

// Error implements error.
func (e optionError) Error() string { return string(e) }

const sendmailSpec = "A:B:C:F:GIL:N:O:R:UV:X:b:ce:f:h:imno:p:r:q:tvx"

// runSendmail is sendmail(1), and mailq(1) and newaliases(1) by name.
func runSendmail(e *Env) int {
	o := &sendmailOptions{dotIsEnd: true}
	switch e.Prog {
	case "mailq":
		o.mode = modeMailq
	case "newaliases":
		o.mode = modeAliases
	}
	// The configuration first, so that what is wrong with the options is logged.
	c, err := e.load(e.sendmailConfig())
	if err != nil {
		return e.Fatalf(exTempfail, "%v", err)
	}
	if err := e.sendmailParse(o); err != nil {
		return e.Fatalf(exTempfail, "%v", err)
	}
	if o.requireTLS && !c.settings.RequireTLSEnable {
		// The sender counts on it; the quote that is missing is missing in Postfix.
		e.Warnf("Ignoring option '-O %s, because the configuration is 'requiretls_enable = no'", o.requireTLSArg)
		o.requireTLS = false
	}
	if err := o.check(c); err != nil {
		return e.Fatalf(exTempfail, "%v", err)
	}
	if o.interval && o.mode != modeDaemon {
		return 0
	}
	return e.sendmailRun(c, o)
}

// sendmailConfig finds option -C, the last one when there are several.
func (e *Env) sendmailConfig() string {
	dir := ""
	g := NewGetopt(e.Args, sendmailSpec)
	for {
		if word, fresh := g.Peek(); fresh && (word == "-q" || word == "-XV") {
			g.Skip()
			continue
		}
		opt, err := g.Next()
		if err != nil {
			// Said twice when it is wrong, as by Postfix, which walks twice too.
			fmt.Fprintf(e.Stderr, "%s: %v\n", e.Prog, err)
			continue
		}
		if opt == 0 {
			return dir
		}
		if opt == 'C' {
			dir = g.Arg
			if filepath.Base(dir) == "main.cf" {
				dir = filepath.Dir(dir)
			}
		}
	}
}

// sendmailParse walks over the options. Warnings go out at once.
func (e *Env) sendmailParse(o *sendmailOptions) error {
	args := append([]string(nil), e.Args...)
	g := NewGetopt(args, sendmailSpec)
	for {
		word, fresh := g.Peek()
		switch {
		case fresh && word == "-q":
			if o.mode == modeDaemon {
				e.Warnf("ignoring -q option in daemon mode")
			} else {
				o.mode = modeFlush
			}
			g.Skip()
			continue
		case fresh && word == "-XV":
			o.verpGiven, o.verp = true, ""
			g.Skip()
			continue
		case fresh && strings.HasPrefix(word, "-V") && len(word) == 4:
			e.Warnf("option %s is deprecated with Postfix 2.3; specify -X%s instead", word, word[1:])
			o.verpGiven, o.verp = true, word[2:]
			g.Skip()
			continue
		}
		opt, err := g.Next()
		if err != nil {
			fmt.Fprintf(e.Stderr, "%s: %v\n", e.Prog, err)
			return optionError("usage: sendmail [options]")
		}
		if opt == 0 {
			o.recipients = g.Args()
			return nil
		}
		if err := e.sendmailOption(o, opt, g.Arg); err != nil {
			return err
		}
	}
}

// sendmailOption takes one option.
func (e *Env) sendmailOption(o *sendmailOptions, opt byte, arg string) error {
	switch opt {
	case 'n':
		return optionError("-n option not supported")
	case 'B':
		switch arg {
		case "8BITMIME":
			o.encoding = "8bit"
		case "7BIT":
			o.encoding = "7bit"
		default:
			return optionError("-B option needs 8BITMIME or 7BIT")
		}
	case 'F':
		o.fullName = arg
	case 'G':
		o.gateway = true
	case 'I':
		o.mode = modeAliases
	case 'N':
		e.sendmailNotify(o, arg)
	case 'O':
		e.sendmailSet(o, arg)
	case 'R':
		switch strings.ToLower(arg) {
		case "full":
			o.ret = mail.RetFull
		case "hdrs":
			o.ret = mail.RetHeaders
		default:
			e.Warnf("bad -R option value -- ignored")
		}
	case 'V':
		switch {
		case len(arg) > 100:
			e.Warnf("too long -V option value -- ignored")
		case strings.IndexFunc(arg, func(r rune) bool { return r != '\t' && (r < ' ' || r > '~') }) >= 0:
			e.Warnf("bad syntax in -V option value -- ignored")
		default:
			o.envid = arg
		}
	case 'X':
		if arg == "" || arg[0] != 'V' {
			return optionError(fmt.Sprintf("unsupported: -X%.1s", arg))
		}
		o.verpGiven, o.verp, o.verpCheck = true, arg[1:], true
	case 'b':
		return e.sendmailB(o, arg)
	case 'f', 'r':
		o.sender, o.hasSender = arg, true
	case 'i':
		o.dotIsEnd = false
	case 'o':
		switch {
		case strings.HasPrefix(arg, "i"):
			o.dotIsEnd = false
		case arg == "A":
			return optionError("-oA requires pathname")
		case strings.HasPrefix(arg, "A"):
			o.aliasFile = arg[1:]
		}
	case 'q':
		return o.queueRun(arg)
	case 't':
		o.extract = true
	case 'v':
		o.verbose++
	}
	return nil
}

// sendmailB takes -b.
func (e *Env) sendmailB(o *sendmailOptions, arg string) error {
	switch first := fmt.Sprintf("%.1s", arg); first {
	case "d", "l":
		if o.mode == modeFlush {
			e.Warnf("ignoring -q option in daemon mode")
		}
		o.mode = modeDaemon
	case "h", "H":
		o.mode = modeIgnore
	case "i":
		o.mode = modeAliases
	case "m":
		o.mode = modeEnqueue
	case "p":
		o.mode = modeMailq
	case "s":
		o.mode = modeSMTP
	case "v":
		o.probe = true
	default:
		return optionError("unsupported: -b" + first)
	}
	return nil
}

// queueRun takes -q with an argument.
func (o *sendmailOptions) queueRun(arg string) error {
	switch {
	case arg[0] >= '0' && arg[0] <= '9':
		o.interval = true
	case arg[0] == 'R':
		if o.flushSite = arg[1:]; o.flushSite == "" {
			return optionError("specify: -qRsitename")
		}
	case arg[0] == 'I':
		if o.flushID = arg[1:]; o.flushID == "" {
			return optionError("specify: -qIqueueid")
		}
	default:
		return optionError(fmt.Sprintf("-q%.1s is not implemented", arg))
	}
	return nil
}

// sendmailNotify takes -N.
func (e *Env) sendmailNotify(o *sendmailOptions, arg string) {
	words := map[string]mail.Notify{
		"never": mail.NotifyNever, "success": mail.NotifySuccess, "failure": mail.NotifyFailure, "delay": mail.NotifyDelay,
	}
	var n mail.Notify
	for _, word := range strings.FieldsFunc(arg, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) }) {
		bit, ok := words[strings.ToLower(word)]
		if !ok {
			e.Warnf("unknown DSN NOTIFY command value \"%s\" in \"%s\"", word, arg)
			n = 0
			break
		}
		n |= bit
	}
	// RFC 3461 4.1: NEVER stands alone.
	if n == 0 || n&mail.NotifyNever != 0 && n != mail.NotifyNever {
		e.Warnf("bad -N option value -- ignored")
		return
	}
	o.notify = n
}

// sendmailSet takes -O.
func (e *Env) sendmailSet(o *sendmailOptions, arg string) {
	name, value, _ := strings.Cut(arg, "=")
	yes := strings.EqualFold(value, "yes")
	known := yes || strings.EqualFold(value, "no")
	switch {
	case strings.EqualFold(name, "SMTPUTF8") && known:
		o.smtputf8 = yes
	case strings.EqualFold(name, "REQUIRETLS") && known:
		o.requireTLS = yes
		o.requireTLSArg = arg
	case strings.EqualFold(name, "SMTPUTF8"), strings.EqualFold(name, "REQUIRETLS"):
		e.Warnf("bad -O option: '%s' -- ignored", arg)
	}
}

// check looks for options that contradict each other, and applies what main.cf
// says about them.
func (o *sendmailOptions) check(c *config) error {
	if o.verpGiven {
		if o.verp == "" && !o.verpCheck {
			o.verp = c.settings.DefaultVERPDelimiters
		} else if len(o.verp) != 2 || !strings.Contains(c.settings.VERPDelimiterFilter, o.verp[:1]) ||
			!strings.Contains(c.settings.VERPDelimiterFilter, o.verp[1:]) {
			return optionError("-V requires two characters from " + c.settings.VERPDelimiterFilter)
		}
	}
	switch {
	case o.extract && o.mode != modeEnqueue:
		return optionError("-t can be used only in delivery mode")
	case o.flushSite != "" && o.mode != modeEnqueue:
		return optionError("-qR can be used only in delivery mode")
	case o.flushID != "" && o.mode != modeEnqueue:
		return optionError("-qI can be used only in delivery mode")
	case o.probe && o.extract:
		return optionError("-t option cannot be used with -bv")
	case o.probe && o.notify != 0:
		return optionError("-N option cannot be used with -bv")
	case o.probe && o.ret != mail.RetUnset:
		return optionError("-R option cannot be used with -bv")
	case o.probe && o.verbose == 1:
		return optionError("-v option cannot be used with -bv")
	}
	return nil
}

// sendmailRun does what the options ask for. Most of it is the work of another
// command.
func (e *Env) sendmailRun(c *config, o *sendmailOptions) int {
	plain := len(o.recipients) == 0
	switch o.mode {
	case modeIgnore:
		return 0
	case modeMailq:
		if !plain {
			return e.Fatalf(exTempfail, "display queue mode requires no recipient")
		}
		return e.other(c, "postqueue", "-p")
	case modeFlush:
		if !plain {
			return e.Fatalf(exTempfail, "flush queue mode requires no recipient")
		}
		return e.other(c, "postqueue", "-f")
	case modeDaemon:
		if !plain {
			return e.Fatalf(exTempfail, "daemon mode requires no recipient")
		}
		return e.other(c, "postfix", "start")
	case modeAliases:
		if !plain {
			return e.Fatalf(exTempfail, "alias initialization mode requires no recipient")
		}
		files := c.settings.AliasDatabase
		if o.aliasFile != "" {
			files = []string{o.aliasFile}
		}
		if len(files) == 0 {
			return 0
		}
		return e.other(c, "postalias", append([]string{"--"}, files...)...)
	case modeSMTP:
		if !plain {
			return e.Fatalf(exTempfail, "stand-alone mode requires no recipient")
		}
		return e.standAlone(c)
	}
	switch {
	case o.flushSite != "" && !plain:
		return e.Fatalf(exTempfail, "flush site requires no recipient")
	case o.flushSite != "":
		return e.other(c, "postqueue", "-s", o.flushSite)
	case o.flushID != "" && !plain:
		return e.Fatalf(exTempfail, "flush queue_id requires no recipient")
	case o.flushID != "":
		return e.other(c, "postqueue", "-i", o.flushID)
	}
	return e.enqueue(c, o)
}

// other runs another command with the same configuration; for an ordinary user
// that is the set-gid program, where it needs one.
func (e *Env) other(c *config, prog string, args ...string) int {
	if code, ok := e.viaSetgid(c, prog, args); ok {
		return code
	}
	next := e.as(prog, args...)
	next.Environ = append(append([]string(nil), e.Environ...), "MAIL_CONFIG="+c.dir)
	return Run(next)
}
