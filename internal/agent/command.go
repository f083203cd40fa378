package agent

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"postroad/internal/mail"
	"postroad/internal/postconf"
	"postroad/internal/privdeliver"
	"postroad/internal/table"
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
func (t *task) command(ctx context.Context, cmd string, addr mail.Address, u *account, mailbox bool) {
	if t.d.Flags&Verify != 0 {
		t.step(addr, mail.Result{Outcome: mail.Deliverable, Enhanced: "2.0.0", Text: "delivers to command: " + cmd})
		return
	}
	if mailbox {
		expanded, err := t.expandCommand(cmd, addr, u)
		if err != nil {
			t.step(addr, mail.Result{Enhanced: "4.3.5", Text: configError})
			return
		}
		cmd = expanded
	}
	if !t.a.deps.Users.Can(u.uid) {
		t.step(addr, mail.Result{Enhanced: "4.3.5", Text: fmt.Sprintf("cannot run %s: %v", describe("command", u), privdeliver.ErrRights)})
		return
	}
	delivered := mail.Address("")
	if slices.Contains(t.a.set.PrependDelivered, "command") {
		delivered = t.r.Address.Fold()
	}
	req := &privdeliver.Request{
		Kind: privdeliver.Command, Argv: commandArgv(cmd, t.a.set.LocalCommandShell), Env: t.environment(u, addr), Dir: u.home,
		Timeout: t.a.set.CommandTimeLimit, Size: t.d.Content.Size(), From: fromLine(t.d.Envelope.Sender, time.Now()) + "\n",
		Prefix: []byte(prefix(t.sender, t.r.Original, delivered)),
	}
	out, err := t.a.deps.Users.Do(ctx, u.uid, u.gid, req, t.d.Content.Open)
	if err != nil {
		t.step(addr, mail.Result{Enhanced: "4.3.0", Text: "command execution failed: " + err.Error()})
		return
	}
	t.step(addr, commandResult(out, cmd))
}

// commandResult turns the end of a command into an answer. A status code at the
// beginning of its output wins over its exit status.
func commandResult(out privdeliver.Result, cmd string) mail.Result {
	output := strings.TrimSpace(printable(string(out.Output)))
	if len(output) > 1000 {
		output = output[:1000]
	}
	said := ""
	if output != "" {
		said = ". Command output: " + output
	}
	switch {
	case out.Class == privdeliver.OK:
		return mail.Result{Outcome: mail.Sent, Enhanced: "2.0.0", Text: "delivered to command: " + cmd}
	case out.Class != privdeliver.Failed:
		return mail.Result{Enhanced: "4.3.0", Text: out.Text}
	case out.Exit < 0 && strings.Contains(out.Text, "time limit"):
		return mail.Result{Enhanced: "4.3.0", Text: fmt.Sprintf("%s: %q%s", out.Text, cmd, said)}
	case out.Exit < 0:
		return mail.Result{Enhanced: "4.3.0", Text: fmt.Sprintf("%s: %q%s", out.Text, cmd, said)}
	}
	res := mail.Result{Enhanced: "5.3.0", Text: fmt.Sprintf("Command died with status %d: %q%s", out.Exit, cmd, said)}
	if known, ok := sysexits[out.Exit]; ok {
		res.Enhanced, res.Text = known.enhanced, known.text+said
	}
	if enhanced, rest := SplitEnhanced(output, ""); enhanced != "" && enhanced[0] != '2' {
		res.Enhanced, res.Text = enhanced, rest
	}
	if res.Enhanced[0] == '5' {
		res.Outcome = mail.Bounced
	}
	return res
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
var shellWords = []string{"exec", "cd", "exit", "umask", "export", ".", ":", "test", "if", "for", "case", "set", "unset", "eval", "trap"}

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

// expandCommand fills the $names of mailbox_command. What comes from the message
// loses every character that command_expansion_filter does not list.
func (t *task) expandCommand(cmd string, addr mail.Address, u *account) (string, error) {
	values := t.facts(addr, u)
	return postconf.Expand(cmd, func(name string) (string, bool) {
		v, ok := values[strings.ToUpper(name)]
		return filter(v, t.a.set.CommandFilter), ok
	})
}

// filter replaces characters that are not allowed.
func filter(s, allowed string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(allowed, r) {
			return r
		}
		return '_'
	}, s)
}

// facts are what commands are told about a delivery.
func (t *task) facts(addr mail.Address, u *account) map[string]string {
	_, ext := table.SplitExtension(addr.Local(), t.a.set.Delimiter)
	c := &t.d.Envelope.Client
	return map[string]string{
		"USER": u.name, "LOGNAME": u.name, "HOME": u.home, "SHELL": u.shell, "EXTENSION": ext, "DOMAIN": addr.Domain(),
		"LOCAL": addr.Local(), "RECIPIENT": string(addr), "ORIGINAL_RECIPIENT": string(t.r.Original),
		"SENDER": string(t.sender), "ENVID": t.d.Envelope.EnvID,
		"CLIENT_ADDRESS": c.Addr, "CLIENT_HELO": c.Helo, "CLIENT_HOSTNAME": c.Name, "CLIENT_PROTOCOL": c.Proto,
		"SASL_METHOD": c.SASLMethod, "SASL_SENDER": c.SASLSender, "SASL_USERNAME": c.SASLUser,
	}
}

// environment is that of a command: the facts, MAIL_CONFIG and what
// export_environment lists.
func (t *task) environment(u *account, addr mail.Address) []string {
	var env []string
	for name, value := range t.facts(addr, u) {
		if !strings.ContainsRune(value, 0) {
			env = append(env, name+"="+value)
		}
	}
	for _, item := range t.a.set.ExportEnvironment {
		if strings.Contains(item, "=") {
			env = append(env, item)
		} else if v, ok := os.LookupEnv(item); ok {
			env = append(env, item+"="+v)
		}
	}
	if !slices.ContainsFunc(env, func(e string) bool { return strings.HasPrefix(e, "PATH=") }) {
		env = append(env, "PATH=/usr/bin:/bin")
	}
	slices.Sort(env)
	return env
}
