package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"postroad/internal/testkit"
	"postroad/internal/testkit/box"
	"postroad/test/scenario"
)

// result is one run of one subject.
type result struct {
	Round   int
	Subject string
	Plan    plan
	// Rate is messages per second, from the first connection to the last
	// arrival; CPU is milliseconds per message.
	Rate, CPU float64
	// AcceptP50 and AcceptP99 are milliseconds from the connection to the 250,
	// ArriveP50 and ArriveP99 from the writing to the arrival.
	AcceptP50, AcceptP99, ArriveP50, ArriveP99 float64
	// PSS and RSS are peaks in KiB; Flushes is the disk's flushes per message.
	PSS, RSS int64
	Flushes  float64
	// Others is how many CPUs were busy with neither the subject nor the load:
	// above 0.3 a rate says little.
	Others float64
	// Retried counts messages that were not taken at the first try.
	Retried int
	// More has the figures that only one workload has.
	More map[string]float64 `json:",omitempty"`
}

// String is the run in one line.
func (r result) String() string {
	s := fmt.Sprintf("%-9s %-32s %8.0f/s %7.3f ms CPU  accept %.1f/%.1f ms  PSS %d KiB  flushes/message %.2f  others %.2f CPUs",
		r.Subject, r.Plan, r.Rate, r.CPU, r.AcceptP50, r.AcceptP99, r.PSS, r.Flushes, r.Others)
	if r.Retried > 0 {
		s += fmt.Sprintf("  retried %d", r.Retried)
	}
	for _, k := range keys(r.More) {
		s += fmt.Sprintf("  %s %.3g", k, r.More[k])
	}
	return s
}

// users is the number of Maildirs.
const users = 1000

// session is one run in progress.
type session struct {
	*box.Box
	plan  plan
	group *group
	sink  *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Reader
	res   result
}

// benchMain is common to all workloads: stock settings, except for what lets
// the load in at all.
const benchMain = `smtpd_client_connection_count_limit = 0
relay_domains = remote.test, down.test
virtual_mailbox_domains = box.test
virtual_mailbox_maps = hash:/etc/postfix/boxes
virtual_mailbox_base = /srv
virtual_uid_maps = static:5000
virtual_gid_maps = static:5000
message_size_limit = 20480000
virtual_mailbox_limit = 0
`

// perWorkload are the settings of one workload only.
var perWorkload = map[string]string{
	"accept":  "smtpd_recipient_restrictions = check_recipient_access static:HOLD, permit\n",
	"idle":    "default_process_limit = 12000\nsmtpd_timeout = 3600s\n",
	"backlog": "minimal_backoff_time = 4h\nmaximal_backoff_time = 4h\n",
}

// runInBox is the job of one run.
func runInBox(ctx context.Context, b *box.Box, input json.RawMessage) (any, error) {
	s := &session{Box: b, res: result{More: map[string]float64{}}}
	if err := json.Unmarshal(input, &s.plan); err != nil {
		return nil, err
	}
	s.res.Subject, s.res.Plan = b.Subject.Name, s.plan
	if err := s.prepare(ctx); err != nil {
		return nil, err
	}
	defer s.group.remove()
	work := map[string]func(context.Context) error{"idle": s.idle, "backlog": s.backlog}[s.plan.Workload]
	if work == nil {
		work = s.stream
	}
	if err := work(ctx); err != nil {
		log, _ := b.Log() // without a log the error still says something
		if len(log) > 30 {
			log = log[len(log)-30:]
		}
		return nil, fmt.Errorf("%w\nlog:\n%s", err, strings.Join(log, "\n"))
	}
	return s.res, b.Kill(ctx)
}

// prepare configures and starts sink and server.
func (s *session) prepare(ctx context.Context) error {
	if err := scenario.Configure(benchMain+perWorkload[s.plan.Workload], ""); err != nil {
		return err
	}
	var boxes strings.Builder
	for i := range users {
		fmt.Fprintf(&boxes, "u%d@box.test box/u%d/\n", i, i)
	}
	if err := os.WriteFile("/etc/postfix/boxes", []byte(boxes.String()), 0o644); err != nil {
		return err
	}
	if err := os.MkdirAll("/srv/box", 0o755); err != nil {
		return err
	}
	if err := os.Chown("/srv/box", 5000, 5000); err != nil {
		return err
	}
	if err := s.ServeDNS(scenario.Zone("down.test. MX 10 mail.down.test.\nmail.down.test. A 192.0.2.99\n")); err != nil {
		return err
	}
	if _, err := s.Must(ctx, "newaliases && postmap hash:/etc/postfix/boxes"); err != nil {
		return err
	}
	var err error
	if s.group, err = newGroup(fmt.Sprintf("postroad-bench-%d-%s", time.Now().UnixNano(), s.Subject.Name)); err != nil {
		return err
	}
	if err := s.startSink(ctx); err != nil {
		return err
	}
	return s.start(ctx)
}

// start starts the server in its control group.
func (s *session) start(ctx context.Context) error {
	line := fmt.Sprintf("echo $$ > %s/cgroup.procs && postfix start", s.group.dir)
	if _, err := s.Must(ctx, line); err != nil {
		return err
	}
	return s.WaitPort(ctx, box.ServerIP+":25")
}

// self builds a process of this program.
func self(ctx context.Context, arg ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", arg...)
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "POSTROAD_BOX_") {
			cmd.Env = append(cmd.Env, e)
		}
	}
	cmd.Stderr = os.Stderr
	return cmd
}

// startSink starts the sink process.
func (s *session) startSink(ctx context.Context) error {
	s.sink = self(ctx, "sink", "-listen", "192.0.2.10:25")
	var err error
	if s.in, err = s.sink.StdinPipe(); err != nil {
		return err
	}
	out, err := s.sink.StdoutPipe()
	if err != nil {
		return err
	}
	s.out = bufio.NewReader(out)
	if err := s.sink.Start(); err != nil {
		return err
	}
	line, err := s.out.ReadString('\n')
	if err != nil || line != "ready\n" {
		return fmt.Errorf("sink: %q %w", line, err)
	}
	return nil
}

// runSourceProcess runs a source to its end.
func runSourceProcess(ctx context.Context, to string, p plan, more ...string) (sent, error) {
	args := append([]string{"source", "-to", to, "-conns", fmt.Sprint(p.Conns), "-messages", fmt.Sprint(p.Messages),
		"-size", fmt.Sprint(p.Size), fmt.Sprintf("-reuse=%v", p.Reuse)}, more...)
	cmd := self(ctx, args...)
	var out bytes.Buffer
	cmd.Stdout = &out
	var r sent
	if err := cmd.Run(); err != nil {
		return r, fmt.Errorf("source: %w", err)
	}
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		return r, err
	}
	if r.Accepted < p.Messages {
		return r, fmt.Errorf("source: %d of %d accepted; first failure: %s", r.Accepted, p.Messages, r.FirstError)
	}
	return r, nil
}

// target is the recipient of a workload.
func (s *session) target() []string {
	if s.plan.Workload == "maildir" {
		return []string{"-rcpt", "u%d@box.test", "-users", fmt.Sprint(users)}
	}
	return nil
}

// stream runs the workloads that send a number of messages: a warm-up, then
// the measured part.
func (s *session) stream(ctx context.Context) error {
	warm := s.plan
	warm.Messages = max(s.plan.Conns, min(200, s.plan.Messages/10))
	if _, err := runSourceProcess(ctx, box.ServerIP+":25", warm, s.target()...); err != nil {
		return fmt.Errorf("warm-up: %w", err)
	}
	if err := s.arrive(ctx, warm.Messages); err != nil {
		return fmt.Errorf("warm-up: %w", err)
	}
	if _, err := ask(s.in, s.out, "reset"); err != nil {
		return err
	}
	cpu, err := s.group.cpu()
	if err != nil {
		return err
	}
	flush := flushes()
	all, own := busy(), ours(s.sink.Process.Pid)
	mem := watchMemory(ctx, s.Box)
	began := time.Now()
	src, err := runSourceProcess(ctx, box.ServerIP+":25", s.plan, s.target()...)
	if err != nil {
		return err
	}
	already := 0
	if s.plan.Workload == "accept" || s.plan.Workload == "maildir" {
		already = warm.Messages
	}
	if err := s.arrive(ctx, already+s.plan.Messages); err != nil {
		return err
	}
	took := time.Since(began)
	after, err := s.group.cpu()
	if err != nil {
		return err
	}
	r := &s.res
	foreign := busy() - all - (ours(s.sink.Process.Pid) - own) - (after - cpu)
	r.Others = max(0, foreign.Seconds()/took.Seconds())
	r.PSS, r.RSS = mem.Stop()
	n := float64(s.plan.Messages)
	r.Flushes = float64(flushes()-flush) / n
	r.CPU = float64((after - cpu).Microseconds()) / 1000 / n
	r.AcceptP50, r.AcceptP99, r.Retried = src.P50, src.P99, src.Failed
	r.Rate = n / took.Seconds()
	if s.plan.Workload == "accept" {
		r.Rate = n / src.Seconds
	}
	a, err := ask(s.in, s.out, "")
	if err != nil {
		return err
	}
	if a.Messages > 0 {
		r.ArriveP50, r.ArriveP99 = a.P50, a.P99
		r.Rate = n / (time.Unix(0, a.Last).Sub(began)).Seconds()
	}
	return nil
}

// arrive waits until n messages have reached their end: the sink, the
// Maildirs, or the queue where the workload stops there. More is as wrong as
// fewer.
func (s *session) arrive(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	got := 0
	var last error
	count := func() (int, error) {
		a, err := ask(s.in, s.out, "")
		return a.Messages, err
	}
	every := 5 * time.Millisecond
	switch s.plan.Workload {
	case "accept":
		every, count = time.Second, func() (int, error) { return s.queued(ctx) }
	case "maildir":
		every, count = 50*time.Millisecond, maildirs
	}
	grown := time.Now()
	testkit.Poll(ctx, every, func() bool {
		before := got
		got, last = count()
		if got > before {
			grown = time.Now()
		}
		return last == nil && got >= n || time.Since(grown) > time.Minute
	})
	if got != n {
		return fmt.Errorf("%d messages sent, %d have arrived (%v)", n, got, last)
	}
	return nil
}

// queued is the length of the queue.
func (s *session) queued(ctx context.Context) (int, error) {
	out, err := s.Must(ctx, "postqueue -j")
	return strings.Count(out.Stdout, "\n"), err
}

// maildirs counts the messages in all Maildirs.
func maildirs() (int, error) {
	dirs, err := filepath.Glob("/srv/box/*/new")
	if err != nil {
		return 0, err
	}
	n := 0
	for _, d := range dirs {
		files, err := os.ReadDir(d)
		if err != nil {
			return 0, err
		}
		n += len(files)
	}
	return n, nil
}
