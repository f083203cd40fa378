package cli

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os/user"
	"strconv"
	"strings"

	"postroad/internal/mail"
	"postroad/internal/maildrop"
)

// Bounds of a submission: the header that -t reads, and one line of it.
const maxExtractHeader = 1 << 20

// enqueue reads a message and puts it into the maildrop.
func (e *Env) enqueue(c *config, o *sendmailOptions) int {
	if !c.allowed("authorized_submit_users", c.settings.SubmitUsers, e.UID) {
		return e.Fatalf(exTempfail, "User %s(%d) is not allowed to submit mail", userName(e.UID), e.UID)
	}
	env, err := e.submission(c, o)
	if err != nil {
		return e.Fatalf(exTempfail, "%v", err)
	}
	// who opens the texts about this submission.
	who := fmt.Sprintf("%s(%d)", env.Sender, e.UID)
	if o.verpGiven && env.Sender == "" {
		return e.Fatalf(exTempfail, "%s: -V option requires non-null sender address", who)
	}
	if err := e.loginSender(c, env.Sender); err != nil {
		return e.Fatalf(exTempfail, "%s: %v", who, err)
	}
	if err := e.deliver(c, o, env); err != nil {
		return e.Fatalf(exTempfail, "%s: %v", who, err)
	}
	if env.Trace || env.Probe {
		e.Printf("Mail Delivery Status Report will be mailed to <%s>.\n", env.Sender)
	}
	return 0
}

// deliver takes a submission to the maildrop.
func (e *Env) deliver(c *config, o *sendmailOptions, env *maildrop.Envelope) error {
	d, err := e.openDrop(c)
	if err != nil {
		return err
	}
	defer d.Abort() // does nothing after Commit
	if err := d.Begin(env); err != nil {
		return err
	}
	if o.probe {
		err = writeProbe(d, env.Sender, o.recipients)
	} else {
		err = e.copySubmission(c, d, o, env)
	}
	if err != nil {
		return err
	}
	return d.Commit()
}

// copySubmission copies the message from the standard input, and the recipients
// that -t finds in its header.
func (e *Env) copySubmission(c *config, d drop, o *sendmailOptions, env *maildrop.Envelope) error {
	extracted, err := copyMessage(d, e.Stdin, o, c.settings.FixLineEndings)
	if err != nil {
		return err
	}
	if len(extracted)+len(env.Recipients) == 0 {
		if o.extract {
			return optionError("No recipient addresses found in message header")
		}
		return optionError("Recipient addresses must be specified on the command line or via the -t option")
	}
	for _, a := range extracted {
		if err := d.AddRecipient(maildrop.Recipient{Address: a, Notify: o.notify}); err != nil {
			return err
		}
	}
	return nil
}

// submission builds the envelope from the options.
func (e *Env) submission(c *config, o *sendmailOptions) (*maildrop.Envelope, error) {
	env := &maildrop.Envelope{
		Queued: e.now(), FullName: e.fullName(o), EnvID: o.envid, Ret: o.ret, VERP: o.verp, Encoding: o.encoding,
		Probe: o.probe, Trace: o.verbose == 1, SMTPUTF8: o.smtputf8, RequireTLS: o.requireTLS, Gateway: o.gateway,
	}
	if o.hasSender {
		list := parseAddresses(o.sender)
		if len(list) > 1 {
			e.Warnf("-f option specified malformed sender: %s", o.sender)
		}
		if len(list) > 0 {
			env.Sender = list[0]
		}
	} else {
		u, err := user.LookupId(strconv.Itoa(e.UID))
		if err != nil {
			return nil, fmt.Errorf("no login name found for user ID %d", e.UID)
		}
		env.Sender = mail.Address(u.Username)
	}
	for _, arg := range o.recipients {
		list := parseAddresses(arg)
		if len(list) == 0 {
			list = []mail.Address{""}
		}
		for _, a := range list {
			env.Recipients = append(env.Recipients, maildrop.Recipient{Address: a, Notify: o.notify})
		}
	}
	return env, nil
}

// fullName is -F, NAME, or the name in the password file, where "&" stands for
// the login name.
func (e *Env) fullName(o *sendmailOptions) string {
	name := o.fullName
	if name == "" {
		name = e.Getenv("NAME")
	}
	if name == "" {
		u, err := user.LookupId(strconv.Itoa(e.UID))
		if err != nil {
			return ""
		}
		name, _, _ = strings.Cut(u.Name, ",")
		if login := u.Username; login != "" {
			name = strings.ReplaceAll(name, "&", strings.ToUpper(login[:1])+login[1:])
		}
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, name)
}

// loginSender obeys local_login_sender_maps: the entry of the login name lists
// the senders it may use; "*" is any.
func (e *Env) loginSender(c *config, sender mail.Address) error {
	specs := c.settings.LocalLoginSenders
	if len(specs) == 1 && specs[0] == "static:*" {
		return nil
	}
	set, done := openTables(c.Config)
	defer done()
	maps, err := set.Maps("local_login_sender_maps", specs)
	if err != nil {
		return err
	}
	login := userName(e.UID)
	if login == "unknown" {
		login = "uid:" + strconv.Itoa(e.UID)
	}
	ctx, cancel := tableContext()
	defer cancel()
	hit, err := maps.Lookup(ctx, login)
	if err != nil {
		return fmt.Errorf("local_login_sender_maps table lookup error for '%s'", strings.Join(specs, " "))
	}
	key := string(sender)
	if sender == "" {
		key = c.settings.EmptyAddressLogin
	}
	if hit.Found {
		for _, pattern := range strings.FieldsFunc(hit.Value, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) }) {
			if pattern == "*" || strings.EqualFold(pattern, key) || strings.HasPrefix(pattern, "@") &&
				strings.EqualFold(pattern[1:], sender.Domain()) {
				return nil
			}
		}
	}
	return fmt.Errorf("not authorized to use sender='%s'", sender)
}

// writeProbe writes the message that -bv stands for.
func writeProbe(w io.Writer, sender mail.Address, recipients []string) error {
	var b strings.Builder
	if sender != "" {
		fmt.Fprintf(&b, "From: %s\n", sender)
	}
	b.WriteString("Subject: probe\n")
	if len(recipients) > 0 {
		b.WriteString("To:\t" + strings.Join(recipients, ",\n\t") + "\n")
	}
	if len(recipients) == 0 {
		return optionError("Recipient addresses must be specified on the command line or via the -t option")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// copyMessage copies the message from in, with line ends as LF, and returns the
// recipients that -t asks for.
func copyMessage(w io.Writer, in io.Reader, o *sendmailOptions, fix string) ([]mail.Address, error) {
	r := bufio.NewReaderSize(in, 64<<10)
	strip := fix == "always"
	if fix != "always" && fix != "strict" && fix != "never" {
		return nil, fmt.Errorf("invalid sendmail_fix_line_endings value: %s", fix)
	}
	var x extractor
	first, fromLines, whole := true, true, true
	for {
		piece, err := r.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("error reading input: %w", err)
		}
		last := errors.Is(err, io.EOF)
		if last && len(piece) == 0 {
			break
		}
		complete := len(piece) > 0 && piece[len(piece)-1] == '\n'
		line := bytes.TrimSuffix(piece, []byte{'\n'})
		if first && complete && fix == "strict" {
			strip = bytes.HasSuffix(line, []byte{'\r'})
		}
		first = false
		if strip && complete {
			line = bytes.TrimRight(line, "\r")
		}
		// UUCP's envelope lines before the header are dropped.
		if fromLines && whole && bytes.HasPrefix(bytes.TrimLeft(line, ">"), []byte("From ")) {
			whole = complete
			continue
		}
		fromLines = false
		if o.dotIsEnd && whole && len(line) == 1 && line[0] == '.' {
			break
		}
		if o.extract {
			if err := x.line(line, complete); err != nil {
				return nil, err
			}
		}
		if complete {
			// In place: the line is followed by at least its line end.
			line = append(line, '\n')
		}
		if _, err := w.Write(line); err != nil {
			return nil, err
		}
		whole = complete
		if last {
			break
		}
	}
	x.finish()
	return x.recipients(), nil
}

// extractor collects the recipients in a header.
type extractor struct {
	done           bool
	field          []byte
	size           int
	plain, resent  []mail.Address
	sawResentField bool
}

// line takes one line of the message, or a piece of one.
func (x *extractor) line(line []byte, complete bool) error {
	if x.done {
		return nil
	}
	if x.size += len(line) + 1; x.size > maxExtractHeader {
		return errors.New("unable to extract recipients: message header length exceeds safety limit")
	}
	switch {
	case len(line) == 0 && complete:
		x.finish()
	case len(line) > 0 && (line[0] == ' ' || line[0] == '\t'):
		x.field = append(append(x.field, '\n'), line...)
	default:
		x.end()
		x.field = append(x.field[:0], line...)
		if name, _, ok := bytes.Cut(line, []byte{':'}); !ok || bytes.ContainsAny(bytes.TrimRight(name, " \t"), " \t") {
			// Not a header field: the body begins without an empty line.
			x.field, x.done = nil, true
		}
	}
	return nil
}

// finish ends the header.
func (x *extractor) finish() {
	if !x.done {
		x.end()
		x.done = true
	}
}

// end takes a complete field. Once there is a Resent- field of recipients, only
// those count.
func (x *extractor) end() {
	name, value, ok := strings.Cut(string(x.field), ":")
	x.field = x.field[:0]
	if !ok {
		return
	}
	name = strings.ToLower(strings.TrimRight(name, " \t"))
	short, isResent := strings.CutPrefix(name, "resent-")
	if short != "to" && short != "cc" && short != "bcc" {
		return
	}
	list := parseAddresses(value)
	if isResent {
		x.sawResentField = true
		x.resent = append(x.resent, list...)
	} else {
		x.plain = append(x.plain, list...)
	}
}

func (x *extractor) recipients() []mail.Address {
	if x.sawResentField {
		return x.resent
	}
	return x.plain
}
