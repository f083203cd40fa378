package agent

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/postconf"
	"postroad/internal/privdeliver"
)

// sysexit is what an exit status of sysexits(3) means for a delivery.
type sysexit struct{ enhanced, text string }

// sysexits are the statuses that commands give reasons with. A 4.x.x code is
// tried again.
var sysexits = map[int]sysexit{
	64: {"5.3.0", "command line usage error"},
	65: {"5.6.0", "data format error"},
	66: {"5.3.0", "cannot open input"},
	67: {"5.1.1", "user unknown"},
	68: {"5.1.2", "host name unknown"},
	69: {"5.3.0", "service unavailable"},
	70: {"5.3.0", "internal software error"},
	71: {"4.3.0", "system resource problem"},
	72: {"5.3.0", "critical OS file missing"},
	73: {"5.2.0", "can't create user output file"},
	74: {"5.3.0", "input/output error"},
	75: {"4.3.0", "temporary failure"},
	76: {"5.5.0", "remote error in protocol"},
	77: {"5.7.0", "permission denied"},
	78: {"5.3.5", "local configuration error"},
}

// command runs a command with the message as input.
func (t *task) command(ctx context.Context, f frame, cmd string) {
	u := t.a.rights(f.user)
	if !t.first("command", u.id(), cmd) {
		return
	}
	if t.d.Flags&Verify != 0 {
		t.step(&f, mail.Result{Outcome: mail.Sent, Enhanced: "2.0.0", Text: "delivers to command: " + cmd})
		return
	}
	dir, err := t.workingDir(&f)
	if err != nil {
		t.warnf("command_execution_directory: %v", err)
		t.step(&f, mail.Result{Enhanced: "4.3.5", Text: configError})
		return
	}
	delivered := mail.Address("")
	if t.a.prepends("command") {
		delivered = f.delivered
	}
	req := &privdeliver.Request{
		Kind: privdeliver.Command, Argv: commandArgv(cmd, t.a.set.LocalCommandShell), Env: t.environment(&f), Dir: dir,
		Timeout: t.a.set.CommandTimeLimit, Size: t.d.Content.Size(), From: fromLine(f.sender, time.Now()) + "\n",
		Prefix: []byte(prefix(f.sender, f.rcpt.Original, delivered)),
	}
	if !t.a.deps.Users.Can(u.uid) {
		t.step(&f, mail.Result{Enhanced: "4.3.5", Text: fmt.Sprintf("cannot run command as %s: %v", u.name, privdeliver.ErrRights)})
		return
	}
	out, err := t.a.deps.Users.Do(ctx, u.uid, u.gid, req, t.d.Content.Open)
	if err != nil {
		t.step(&f, mail.Result{Enhanced: "4.3.0", Text: "command execution failed: " + err.Error()})
		return
	}
	announce(t.d.Logger, &out, "local", "")
	t.step(&f, commandResult(out, cmd))
}

// announce logs the remark about a command. What is about its start is said to the
// sender too, in the words of the child that Postfix starts.
func announce(log *event.Logger, out *privdeliver.Result, program, function string) {
	if out.Text == privdeliver.TimeOut {
		log.Warnf("pipe_command_read: read time limit exceeded")
	}
	if out.Warning == "" {
		return
	}
	if !strings.HasPrefix(out.Warning, privdeliver.NotRun) {
		log.Fatalf("%s", out.Warning)
		return
	}
	log.Fatalf("%s", function+out.Warning)
	out.Output = []byte(program + ": fatal: " + function + out.Warning + "\n")
}

// workingDir is where a command runs: command_execution_directory, or the queue
// directory.
func (t *task) workingDir(f *frame) (string, error) {
	pattern := t.a.set.ExecutionDirectory
	if pattern == "" {
		return t.a.set.QueueDirectory, nil
	}
	return postconf.ExpandOnce(pattern, t.macros(f, f.user, t.a.set.ExecutionFilter).lookup)
}

// maxSaid bounds what a sender reads of a command's output.
const maxSaid = 1000

// commandResult turns the end of a command into an answer. A status code at the
// beginning of its output wins over its exit status.
func commandResult(out privdeliver.Result, cmd string) mail.Result {
	output := printable(string(out.Output))
	if len(output) > maxSaid {
		output = output[:maxSaid]
	}
	switch {
	case out.Class == privdeliver.OK:
		return mail.Result{Outcome: mail.Sent, Enhanced: "2.0.0", Text: "delivered to command: " + cmd}
	case out.Class != privdeliver.Failed:
		return mail.Result{Enhanced: "4.3.0", Text: out.Text}
	}
	res := mail.Result{DiagnosticType: "x-unix"}
	known, ok := sysexits[out.Exit]
	switch {
	case out.Text == privdeliver.TimeOut:
		// A bounce, as in Postfix: it would take too long the next time, too.
		res.Enhanced, res.Text = "5.3.0", fmt.Sprintf("%s: \"%s\"", out.Text, cmd)
		res.Diagnostic = "internal software error"
	case out.Exit < 0:
		res.Enhanced, res.Text = "4.3.0", fmt.Sprintf("%s: \"%s\"", out.Text, cmd)
		res.Diagnostic = out.Text
	case ok:
		res.Enhanced, res.Text, res.Diagnostic = known.enhanced, known.text, known.text
	default:
		res.Enhanced, res.Text = "5.3.0", fmt.Sprintf("Command died with status %d: \"%s\"", out.Exit, cmd)
		res.Diagnostic = fmt.Sprintf("exit status %d", out.Exit)
	}
	if enhanced, rest := leadingCode(output); enhanced != "" && out.Exit >= 0 {
		res.Enhanced, res.Text, res.Diagnostic = enhanced, rest, rest
	} else if output != "" {
		res.Text += ". Command output: " + output
		res.Diagnostic = output
	}
	if res.Enhanced[0] == '5' {
		res.Outcome = mail.Bounced
	}
	return res
}

// leadingCode takes a failure code of RFC 3463 off the front of a text.
func leadingCode(text string) (enhanced, rest string) {
	word, rest, found := strings.Cut(text, " ")
	if !found || !isEnhanced(word) || word[0] == '2' {
		return "", text
	}
	return word, strings.TrimLeft(rest, " ")
}

// printable keeps a command's output to one clean line.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return ' '
		}
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}

// shellCharacters are those that make a shell necessary.
const shellCharacters = "!\"#$&'()*;<>?[\\]^`{|}~="

// shellWords are commands that only a shell has.
var shellWords = []string{
	"exec", "cd", "exit", "umask", "export", ".", ":", "test", "if", "for", "case", "set", "unset", "eval", "trap",
	"while", "until", "break", "continue", "command", "read", "readonly", "return", "shift", "times", "wait",
}

// commandArgv runs a command as it is when nothing in it needs a shell.
func commandArgv(cmd, shell string) []string {
	words := strings.Fields(cmd)
	if shell != "" {
		return append(strings.Fields(shell), cmd)
	}
	if len(words) == 0 || strings.ContainsAny(cmd, shellCharacters) || slices.Contains(shellWords, words[0]) {
		return []string{"/bin/sh", "-c", cmd}
	}
	return words
}

// imported is the value of an environment variable that import_environment lets
// in. The server tells commands where its configuration is.
func (s *CommandSettings) imported(name string) (string, bool) {
	if name == "MAIL_CONFIG" {
		return s.ConfigDirectory, true
	}
	listed := false
	for _, item := range s.ImportEnvironment {
		known, value, set := strings.Cut(strings.TrimSpace(strings.Trim(item, "{}")), "=")
		if known == name && set {
			return strings.TrimSpace(value), true
		}
		listed = listed || known == name
	}
	if !listed {
		return "", false
	}
	return os.LookupEnv(name)
}

// facts are what commands are told about a delivery.
func (t *task) facts(f *frame) map[string]string {
	c := &t.d.Envelope.Client
	facts := map[string]string{
		"USER": f.base, "LOGNAME": f.base, "DOMAIN": f.rcpt.Address.Domain(), "LOCAL": f.local,
		"RECIPIENT": string(f.rcpt.Address), "ORIGINAL_RECIPIENT": string(f.rcpt.Original),
		"SENDER": string(f.sender), "ENVID": f.envelope.EnvID,
	}
	if c.UID < 0 { // a local submission has no client
		for name, value := range map[string]string{
			"CLIENT_ADDRESS": c.Addr, "CLIENT_HELO": c.Helo, "CLIENT_HOSTNAME": c.Name, "CLIENT_PROTOCOL": c.Proto,
			"SASL_METHOD": c.SASLMethod, "SASL_SENDER": c.SASLSender, "SASL_USERNAME": c.SASLUser,
		} {
			facts[name] = value
		}
	}
	if f.ext != "" {
		facts["EXTENSION"] = f.ext[1:]
	}
	if f.user != nil {
		facts["HOME"], facts["SHELL"] = f.user.home, f.user.shell
	}
	return facts
}

// environment is that of a command: the facts, without the characters that
// command_expansion_filter does not list, and what export_environment lists.
func (t *task) environment(f *frame) []string {
	var env []string
	allowed := postconf.NewCharset(t.a.set.CommandFilter)
	for name, value := range t.facts(f) {
		if value != "" {
			env = append(env, name+"="+allowed.Clean(value))
		}
	}
	return append(env, t.a.set.exported()...)
}

// exported is the environment that export_environment lists; a command always has
// a PATH.
func (s *CommandSettings) exported() []string {
	var env []string
	for _, item := range s.ExportEnvironment {
		item = strings.TrimSpace(strings.Trim(item, "{}"))
		if strings.Contains(item, "=") {
			env = append(env, item)
		} else if v, ok := s.imported(item); ok {
			env = append(env, item+"="+v)
		}
	}
	if !slices.ContainsFunc(env, func(e string) bool { return strings.HasPrefix(e, "PATH=") }) {
		env = append(env, "PATH=/usr/bin:/bin")
	}
	slices.Sort(env)
	return env
}
