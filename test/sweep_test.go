//go:build oracle

package test

import (
	"context"
	"flag"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"postroad/internal/testkit/box"
	"postroad/test/sweep"
)

var (
	sweepSessions = flag.Int("sessions", 20, "sessions with each configuration in the sweep")
	sweepOnly     = flag.String("only", "", "the configurations of the sweep whose names contain this")
	corpusVar     = "POSTROAD_CORPUS"
)

// TestSweep serves real configurations and puts generated questions to Postfix
// and to Postroad.
func TestSweep(t *testing.T) {
	configs, err := sweep.Load("sweep/testdata")
	if err != nil {
		t.Fatal(err)
	}
	own := map[string]bool{} // those of the corpus may have values that were never filled in
	for _, c := range configs {
		own[c.Name] = true
	}
	if dir := os.Getenv(corpusVar); dir != "" {
		more, err := sweep.Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		configs = append(configs, more...)
	}
	subject := other(t)
	var plans []*sweep.Plan
	for _, c := range configs {
		if *sweepOnly == "" || strings.Contains(c.Name, *sweepOnly) {
			if p := sweep.Stage(c, *seed, *sweepSessions); len(p.Sessions) > 0 {
				plans = append(plans, p)
			}
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute+time.Duration(*sweepSessions)*time.Minute)
	defer cancel()
	// Several configurations in the same box: it takes longer to make a box than to
	// ask a few questions.
	const boxes = 6
	theirs, ours := make([][]sweep.Outcome, boxes), make([][]sweep.Outcome, boxes)
	var parts [boxes][]*sweep.Plan
	for i, p := range plans {
		parts[i%boxes] = append(parts[i%boxes], p)
	}
	var wg sync.WaitGroup
	for i := range boxes {
		for _, side := range []struct {
			subject box.Subject
			out     *[]sweep.Outcome
		}{{box.Postfix(), &theirs[i]}, {subject, &ours[i]}} {
			// goroutine: one box; ends with it.
			wg.Go(func() {
				var err error
				if *side.out, err = sweep.Play(ctx, side.subject, parts[i]); err != nil {
					t.Errorf("%s: %v", side.subject.Name, err)
				}
			})
		}
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	verdicts, sessions, differ, refused := 0, 0, 0, []string(nil)
	for i, p := range plans {
		a, b := theirs[i%boxes][i/boxes], ours[i%boxes][i/boxes]
		if testing.Verbose() {
			t.Logf("%s: %d verdicts, %.1f s and %.1f s", p.Name, sweep.Verdicts(a.Answers), a.Seconds, b.Seconds)
		}
		if a.Error != "" && b.Error != "" && !own[p.Name] {
			t.Log(a.Error, b.Error)
			refused = append(refused, p.Name)
			continue
		}
		if a.Error != "" || b.Error != "" {
			t.Errorf("%s: postfix: %s\n%s: %s", p.Name, a.Error, subject.Name, b.Error)
			continue
		}
		bad := p.Compare(a.Answers, b.Answers)
		for _, text := range bad {
			t.Error(text)
		}
		verdicts += sweep.Verdicts(a.Answers)
		sessions += len(a.Answers)
		differ += len(bad)
	}
	if verdicts < 10*sessions || sessions == 0 {
		t.Errorf("%d verdicts in %d sessions", verdicts, sessions)
	}
	t.Logf("%d configurations, %d sessions with %d verdicts, %d sessions differ; not started by either: %q", len(plans), sessions, verdicts, differ, refused)
}
