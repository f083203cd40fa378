package campaign

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sort"
	"strings"
	"syscall"
	"time"

	"postroad/internal/testkit"
	"postroad/internal/testkit/box"
	"postroad/test/scenario"
)

// Jobs are the jobs of this package, for box.Main.
func Jobs() map[string]box.Job {
	return map[string]box.Job{"crash": crash, "diskfull": diskFull, "readonly": readOnly, "hostile": hostile}
}

// CrashPlan says what a crash campaign does.
type CrashPlan struct {
	// Rounds is the number of crashes; Clients send meanwhile.
	Rounds, Clients int
	// Seed makes the moments repeatable.
	Seed uint64
	// Single makes every fourth crash hit one random process only.
	Single bool
}

// CrashReport is what came of it.
type CrashReport struct {
	testkit.Verdict
	// Rounds and Killed count the crashes and the processes ended.
	Rounds, Killed int
	// StartMedian and StartMax are the times from the start to the first
	// connection that is taken, in milliseconds.
	StartMedian, StartMax int64
	// Seconds is how long the campaign took.
	Seconds float64
}

// String is the report in one line.
func (r CrashReport) String() string {
	return fmt.Sprintf("%d crashes, %d processes killed; %s; up again after %d ms (at most %d); %.0f s",
		r.Rounds, r.Killed, r.Verdict, r.StartMedian, r.StartMax, r.Seconds)
}

// crashMain makes everything that waits wait for a short time only.
const crashMain = `relay_domains = remote.test
minimal_backoff_time = 1s
maximal_backoff_time = 2s
queue_run_delay = 1s
transport_retry_time = 1s
smtpd_client_connection_count_limit = 0
`

// Crash runs a crash campaign against a subject.
func Crash(ctx context.Context, subject box.Subject, plan CrashPlan) (CrashReport, error) {
	var r CrashReport
	err := box.Run(ctx, box.Options{Subject: subject, Disk: true}, "crash", plan, &r)
	return r, err
}

// crash is the campaign, in the box.
func crash(ctx context.Context, b *box.Box, input json.RawMessage) (any, error) {
	var plan CrashPlan
	if err := json.Unmarshal(input, &plan); err != nil {
		return nil, err
	}
	began := time.Now()
	ledger := testkit.NewLedger()
	if err := stageServer(ctx, b, ledger, crashMain); err != nil {
		return nil, err
	}
	rnd := rand.New(rand.NewPCG(plan.Seed, 0xc4a5))
	var starts []time.Duration
	rep := CrashReport{Rounds: plan.Rounds}
	up := func() error {
		t := time.Now()
		if err := b.StartServer(ctx, "/etc/postfix", box.ServerIP+":25"); err != nil {
			return withLog(b, err)
		}
		starts = append(starts, time.Since(t))
		return nil
	}
	if err := up(); err != nil {
		return nil, err
	}
	ld := startLoad(ctx, b, ledger, plan.Clients, plan.Seed)
	defer ld.Stop()
	for round := range plan.Rounds {
		// Short times are the most frequent: a crash soon after a start meets
		// the recovery itself.
		u := rnd.Float64()
		testkit.Pause(ctx, time.Duration(u*u*2000)*time.Millisecond)
		pids, err := b.Processes()
		if err != nil {
			return nil, err
		}
		if plan.Single && round%4 == 3 && len(pids) > 1 {
			// Not the first, which is the master: without it there is no server.
			victim := pids[1+rnd.IntN(len(pids)-1)]
			_ = syscall.Kill(victim, syscall.SIGKILL) // it may have ended by itself
			rep.Killed++
			continue
		}
		rep.Killed += len(pids)
		if err := b.Kill(ctx); err != nil {
			return nil, err
		}
		if err := up(); err != nil {
			return nil, fmt.Errorf("start after crash %d: %w", round+1, err)
		}
	}
	testkit.Pause(ctx, 300*time.Millisecond)
	ld.Stop()
	if err := drain(ctx, b); err != nil {
		return nil, withLog(b, err)
	}
	if err := bookMaildir(ledger); err != nil {
		return nil, err
	}
	rep.Verdict = ledger.Judge()
	sort.Slice(starts, func(i, j int) bool { return starts[i] < starts[j] })
	rep.StartMedian = starts[len(starts)/2].Milliseconds()
	rep.StartMax = starts[len(starts)-1].Milliseconds()
	rep.Seconds = time.Since(began).Seconds()
	return rep, nil
}

// stageServer writes the configuration and opens the remote server.
func stageServer(ctx context.Context, b *box.Box, l *testkit.Ledger, main string) error {
	if err := scenario.Configure(main, ""); err != nil {
		return err
	}
	if err := b.ServeDNS(scenario.Zone("")); err != nil {
		return err
	}
	listener, err := b.Listen("192.0.2.10:25")
	if err != nil {
		return err
	}
	sink, err := testkit.ServeSink(listener, "name mail.remote.test")
	if err != nil {
		return err
	}
	book(l, sink)
	_, err = b.Must(ctx, "newaliases")
	return err
}

// withLog adds the end of the mail log to an error.
func withLog(b *box.Box, err error) error {
	lines, _ := b.Log() // without a log the error still says something
	if len(lines) > 40 {
		lines = lines[len(lines)-40:]
	}
	return fmt.Errorf("%w\nlog:\n%s", err, strings.Join(lines, "\n"))
}
