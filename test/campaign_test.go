//go:build oracle

package test

import (
	"context"
	"flag"
	"strings"
	"testing"
	"time"

	"postroad/internal/testkit/box"
	"postroad/test/campaign"
)

var (
	rounds = flag.Int("rounds", 20, "crashes in the crash campaign")
	foes   = flag.Int("foes", 300, "hostile clients in the hostile campaign; above 1000 it is the long form")
	seed   = flag.Uint64("seed", 1, "of the random moments")
)

// subjects are whom the campaigns run against: the one under test, and with
// -against postfix the reference alone.
func subjects(t *testing.T) []box.Subject {
	t.Helper()
	return []box.Subject{other(t)}
}

// TestCrash kills the server at random moments under load: nothing that was
// acknowledged is lost.
func TestCrash(t *testing.T) {
	for _, s := range subjects(t) {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute+time.Duration(*rounds)*20*time.Second)
		defer cancel()
		r, err := campaign.Crash(ctx, s, campaign.CrashPlan{Rounds: *rounds, Clients: 4, Seed: *seed, Single: true})
		if err != nil {
			t.Fatalf("%s: %v", s.Name, err)
		}
		t.Logf("%s: %s", s.Name, r)
		if len(r.Lost) > 0 || len(r.Broken) > 0 {
			t.Errorf("%s: lost %q, damaged %q", s.Name, r.Lost, r.Broken)
		}
		if r.Acked < *rounds {
			t.Errorf("%s: only %d acknowledged: the campaign proves nothing", s.Name, r.Acked)
		}
	}
}

// TestDiskFull fills the spool's disk: clients are told to come back, waiting
// mail still leaves, and service resumes by itself.
func TestDiskFull(t *testing.T) {
	for _, s := range subjects(t) {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		r, err := campaign.DiskFull(ctx, s)
		if err != nil {
			t.Fatalf("%s: %v", s.Name, err)
		}
		t.Logf("%s: %s", s.Name, r)
		judgeDisk(t, s, r, 1)
		if !r.Drained {
			t.Errorf("%s: mail that waited did not leave while the disk was full", s.Name)
		}
		if r.Recovery > 10*time.Second {
			t.Errorf("%s: service resumed only after %v", s.Name, r.Recovery)
		}
	}
}

// TestReadOnlySpool makes the spool read-only under the running server: clients
// are told to come back, and nothing is lost when it is writable again.
func TestReadOnlySpool(t *testing.T) {
	for _, s := range subjects(t) {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		r, err := campaign.ReadOnly(ctx, s)
		if err != nil {
			t.Fatalf("%s: %v", s.Name, err)
		}
		t.Logf("%s: %s", s.Name, r)
		judgeDisk(t, s, r, 0)
	}
}

// TestHostile lets hostile clients at the server while good ones send mail: none
// of their letters is lost, limits act, and everything is released afterwards.
func TestHostile(t *testing.T) {
	plan := campaign.HostilePlan{Clients: *foes, Good: 2, Calm: time.Second, Attack: 8 * time.Second,
		Pause: time.Second, Patience: 3 * time.Second, Seed: *seed}
	if *foes > 1000 {
		plan.Good, plan.Calm, plan.Attack, plan.Pause, plan.Patience = 4, 20*time.Second, 2*time.Minute, 10*time.Second, 100*time.Second
	}
	for _, s := range subjects(t) {
		ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
		defer cancel()
		r, err := campaign.Hostile(ctx, s, plan)
		if err != nil {
			t.Fatalf("%s: %v", s.Name, err)
		}
		t.Logf("%s: %s", s.Name, r)
		if len(r.Lost) > 0 || len(r.Broken) > 0 || r.Acked == 0 || r.Attack.Letters == 0 {
			t.Errorf("%s: lost %q, damaged %q of %d, %d under attack", s.Name, r.Lost, r.Broken, r.Acked, r.Attack.Letters)
		}
		if s.Name != "postfix" && (r.Before.Goroutines == 0 || r.Before.OpenFiles == 0 || r.During.Goroutines <= r.Before.Goroutines) {
			t.Errorf("%s: its metrics: before %+v, during %+v", s.Name, r.Before, r.During)
		}
		if r.Crowd[0] > 100 || r.Crowd[1] == 0 {
			t.Errorf("%s: one address had %d connections, %d were refused", s.Name, r.Crowd[0], r.Crowd[1])
		}
		if r.Stress.Kept != 4 || !r.Stress.Served || !strings.HasPrefix(r.Stress.Timeout, "421 4.4.2 ") {
			t.Errorf("%s: under stress: %+v", s.Name, r.Stress)
		}
		if r.Counted["panic"]+r.Counted["fatal:"] > 0 || r.Counted["timeout after"] == 0 || r.Counted["has reached its process limit"] == 0 {
			t.Errorf("%s: the log has %v", s.Name, r.Counted)
		}
	}
}

// judgeDisk checks what holds for every bad disk. kept is how many messages may be
// accepted although it is bad: the one that finds the disk full is written with
// the reserve, and the ledger says whether it was kept.
func judgeDisk(t *testing.T, s box.Subject, r campaign.DiskReport, kept int) {
	t.Helper()
	if len(r.Lost) > 0 || len(r.Broken) > 0 {
		t.Errorf("%s: lost %q, damaged %q", s.Name, r.Lost, r.Broken)
	}
	if s.Name == "postfix" {
		return // it is known to leave clients without an answer
	}
	for _, reply := range r.Replies {
		if strings.HasPrefix(reply, "250") && kept > 0 {
			kept--
			continue
		}
		if !strings.HasPrefix(reply, "45") && !strings.HasPrefix(reply, "421") {
			t.Errorf("%s: a client heard %q while the disk was bad", s.Name, reply)
		}
	}
	if r.Slowest > 5*time.Second {
		t.Errorf("%s: a client waited %v for its reply", s.Name, r.Slowest)
	}
}
