package scenario

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"postroad/internal/testkit"
	"postroad/internal/testkit/box"
)

// Jobs are the jobs of this package, for box.Main.
func Jobs() map[string]box.Job {
	return map[string]box.Job{"scenario": job}
}

// Raw is what a play gave, before anything is hidden.
type Raw struct {
	// Steps is the record of the script, as it was played.
	Steps []string
	// Mail is what arrived in mailboxes and at sinks.
	Mail []Delivered
	// Log is the mail log.
	Log []string
}

// Delivered is one message at its end.
type Delivered struct {
	// Where names the mailbox or the sink; Text shows envelope and content.
	Where, Text string
}

// Play plays the scenario to a subject.
func (s *Scenario) Play(ctx context.Context, subject box.Subject) (*Raw, error) {
	var raw Raw
	err := box.Run(ctx, box.Options{Subject: subject}, "scenario", s, &raw)
	if err != nil {
		return nil, err
	}
	return &raw, nil
}

// stepTimeout limits one read or write of a client.
const stepTimeout = 20 * time.Second

// stage is a play in progress.
type stage struct {
	*box.Box
	sc      *Scenario
	clients map[string]*testkit.Player
	sinks   map[string]*testkit.Sink
	order   []string        // of the sinks
	gone    map[string]bool // clients whose session the server has ended
	out     []string
	mail    []Delivered
	running bool
	closed  int // sessions that have ended
}

// job plays a scenario in the box.
func job(ctx context.Context, b *box.Box, input json.RawMessage) (any, error) {
	sc := &Scenario{}
	if err := json.Unmarshal(input, sc); err != nil {
		return nil, err
	}
	p := &stage{Box: b, sc: sc, clients: map[string]*testkit.Player{}, sinks: map[string]*testkit.Sink{}, gone: map[string]bool{}}
	if err := p.prepare(ctx); err != nil {
		return nil, p.explain("prepare", err)
	}
	for _, st := range sc.Steps {
		if err := p.step(ctx, strings.TrimSpace(st.Text)); err != nil {
			return nil, p.explain(fmt.Sprintf("line %d: %s", st.Line, st.Text), err)
		}
	}
	raw, err := p.collect(ctx)
	if err != nil {
		return nil, p.explain("at the end", err)
	}
	return raw, nil
}

// explain adds to an error what the reader needs to understand it.
func (p *stage) explain(where string, err error) error {
	log, _ := p.Log() // without a log the error still says something
	return fmt.Errorf("%s: %w\nso far:\n%s\nlog:\n%s", where, err, strings.Join(p.out, "\n"), strings.Join(log, "\n"))
}

// prepare brings the machine into the state in which the script begins.
func (p *stage) prepare(ctx context.Context) error {
	if err := p.sc.writeFiles(p.Dir); err != nil {
		return err
	}
	if err := p.ServeDNS(baseZone + p.sc.Zones[""]); err != nil {
		return err
	}
	for _, s := range p.sc.Sinks {
		if s.local() {
			continue // in a directory that the server makes
		}
		if err := p.startSink(s); err != nil {
			return err
		}
	}
	// Every box has a certificate, so that a scenario only has to name it.
	if err := testkit.WriteSelfSigned("/etc/postfix/server.pem", box.HostName); err != nil {
		return err
	}
	lines := []string{"newaliases"}
	for _, m := range p.sc.Maps {
		lines = append(lines, "postmap "+m)
	}
	for _, line := range lines {
		if _, err := p.Must(ctx, line); err != nil {
			return err
		}
	}
	if p.sc.has("start") || p.sc.has("nostart") {
		return nil
	}
	return p.start(ctx)
}

// startSink opens one remote server.
func (p *stage) startSink(s Sink) error {
	var sink *testkit.Sink
	var err error
	if s.local() {
		if err := os.MkdirAll(filepath.Dir(s.Addr), 0o755); err != nil {
			return err
		}
		if sink, err = testkit.StartSink(s.Addr, s.Script); err != nil {
			return err
		}
		err = os.Chmod(s.Addr, 0o666)
	} else {
		l, lerr := p.Listen(s.Addr)
		if lerr != nil {
			return lerr
		}
		sink, err = testkit.ServeSink(l, s.Script)
	}
	if err != nil {
		return err
	}
	p.sinks[s.Addr] = sink
	p.order = append(p.order, s.Addr)
	return nil
}

// start starts the server.
func (p *stage) start(ctx context.Context) error {
	p.running = true
	if err := p.StartServer(ctx, "/etc/postfix", box.ServerIP+":25"); err != nil {
		return err
	}
	for _, s := range p.sc.Sinks {
		if s.local() && p.sinks[s.Addr] == nil {
			if err := p.startSink(s); err != nil {
				return err
			}
		}
	}
	return nil
}

// say adds lines to the record.
func (p *stage) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	p.out = append(p.out, strings.Split(text, "\n")...)
}

// step does one line of the script.
func (p *stage) step(ctx context.Context, text string) error {
	word, rest, _ := strings.Cut(text, " ")
	rest = strings.TrimSpace(rest)
	switch word {
	case "nostart":
		return nil
	case "start":
		return p.start(ctx)
	case "stop":
		p.running = false
		return p.StopServer(ctx, "/etc/postfix")
	case "restart":
		if err := p.StopServer(ctx, "/etc/postfix"); err != nil {
			return err
		}
		return p.start(ctx)
	case "reload":
		return p.reload(ctx)
	case "kill":
		p.running = false
		return p.Kill(ctx)
	case "open":
		return p.open(ctx, rest)
	case "exec", "send":
		return p.exec(ctx, "", text)
	case "as":
		name, line, ok := strings.Cut(rest, " ")
		if !ok {
			return fmt.Errorf(`want "as USER exec LINE"`)
		}
		return p.exec(ctx, name, line)
	case "wait":
		return p.wait(ctx, rest)
	case "zone":
		z, ok := p.sc.Zones[rest]
		if !ok {
			return fmt.Errorf("no such zone")
		}
		return p.ServeDNS(baseZone + z)
	case "write":
		return p.write(rest)
	case "show":
		return p.show(rest)
	case "pause":
		d, err := time.ParseDuration(rest)
		testkit.Pause(ctx, d)
		return err
	}
	return p.client(ctx, word, rest)
}

// reload makes the server read its configuration again, and waits until it
// says so and listens.
func (p *stage) reload(ctx context.Context) error {
	before, err := p.count("reload -- version")
	if err != nil {
		return err
	}
	if _, err := p.Must(ctx, "postfix reload"); err != nil {
		return err
	}
	if err := p.waitLog(ctx, before+1, "reload -- version"); err != nil {
		return err
	}
	return p.WaitPort(ctx, box.ServerIP+":25")
}

// exec runs a command and records what it said. After "send" it waits until
// what was sent has settled, so that the next message is the next in the log.
func (p *stage) exec(ctx context.Context, name, step string) error {
	word, line, _ := strings.Cut(step, " ")
	if word != "exec" && word != "send" {
		return fmt.Errorf("unknown step %q", word)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	out, err := p.Exec(ctx, box.Command{Line: line, User: name})
	if err != nil {
		return err
	}
	prompt := "#"
	if name != "" {
		prompt = name + "$"
	}
	p.say("%s %s", prompt, line)
	if out.Stdout != "" {
		p.say("%s", strings.TrimRight(out.Stdout, "\n"))
	}
	if out.Stderr != "" {
		for l := range strings.SplitSeq(strings.TrimRight(out.Stderr, "\n"), "\n") {
			p.say("stderr: %s", l)
		}
	}
	if out.Code != 0 {
		p.say("exit status %d", out.Code)
	}
	if word == "send" && p.running {
		return p.settle(ctx)
	}
	return nil
}

// write replaces a file by a text of the scenario.
func (p *stage) write(rest string) error {
	path, name, ok := strings.Cut(rest, " ")
	if !ok {
		return fmt.Errorf("want a path and a text")
	}
	text, err := os.ReadFile(filepath.Join(p.Dir, textPath(name)))
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o644)
}

// show records a file or what was said to a sink.
func (p *stage) show(rest string) error {
	what, arg, _ := strings.Cut(rest, " ")
	switch what {
	case "file":
		text, err := os.ReadFile(arg)
		if err != nil {
			return err
		}
		p.say("file %s", arg)
		p.say("%s", strings.TrimRight(string(text), "\n"))
		return nil
	case "dialogue":
		s, ok := p.sinks[arg]
		if !ok {
			return fmt.Errorf("no such sink")
		}
		p.say("dialogue with %s", arg)
		for i, x := range s.Sessions() {
			p.say("session %d from %s", i+1, x.Client)
			for _, c := range x.Commands {
				p.say("  %s", c)
			}
		}
		return nil
	}
	return fmt.Errorf("cannot show %q", what)
}

// chown gives a file to an account of the box.
func chown(path, owner string) error {
	u, err := user.Lookup(owner)
	if err != nil {
		return err
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return err
	}
	return os.Chown(path, uid, gid)
}
