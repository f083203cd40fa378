//go:build oracle

package test

import (
	"context"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"postroad/internal/testkit/box"
	"postroad/test/campaign"
	"postroad/test/scenario"
	"postroad/test/sweep"
)

var (
	update  = flag.Bool("update", false, "write the transcripts of Postfix to testdata/postfix")
	against = flag.String("against", "postroad", "whom to compare with Postfix: postroad, or postfix to prove that the harness is steady")
	sbin    = flag.String("sbin", "", "directory with the commands of a Postfix 3.11 that takes Postroad's place, to prove the differences")
	binDir  = flag.String("bin", "../bin", "where make build has put postroad")
)

func TestMain(m *testing.M) {
	jobs := scenario.Jobs()
	maps.Copy(jobs, campaign.Jobs())
	maps.Copy(jobs, sweep.Jobs())
	box.Main(jobs)
	flag.Parse()
	os.Exit(m.Run())
}

// other is the subject that is compared with Postfix.
func other(t *testing.T) box.Subject {
	t.Helper()
	if *against == "postfix" {
		return box.Postfix()
	}
	if *sbin != "" {
		return box.Subject{Name: "postfix-3.11", Bin: *sbin}
	}
	dir := t.TempDir()
	for p := dir; p != os.TempDir() && p != "/"; p = filepath.Dir(p) {
		if err := os.Chmod(p, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s, err := box.Stage("postroad", *binDir, dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestScenarios plays every scenario to Postfix and to Postroad and compares.
func TestScenarios(t *testing.T) {
	all, err := scenario.Load("scenarios")
	if err != nil {
		t.Fatal(err)
	}
	known, err := scenario.LoadKnown("scenarios/known.txt")
	if err != nil {
		t.Fatal(err)
	}
	subject := other(t)
	t.Run("all", func(t *testing.T) {
		for _, s := range all {
			t.Run(s.Name, func(t *testing.T) {
				t.Parallel()
				compare(t, s, subject, known[s.Name])
			})
		}
	})
	for name := range known {
		if !regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + `$`).MatchString(names(all)) {
			t.Errorf("known.txt names %s, which is no scenario", name)
		}
	}
}

// names lists the scenarios, one a line.
func names(all []*scenario.Scenario) string {
	var b strings.Builder
	for _, s := range all {
		b.WriteString(s.Name + "\n")
	}
	return b.String()
}

// differs plays a scenario to a subject and compares with what Postfix did.
func differs(ctx context.Context, s *scenario.Scenario, subject box.Subject, want []string) (string, error) {
	raw, err := s.Play(ctx, subject)
	if err != nil {
		return "", err
	}
	return scenario.Diff(scenario.OwnWords(want), scenario.OwnWords(raw.Transcript())), nil
}

// compare plays one scenario twice. reason says why it is known to differ.
func compare(t *testing.T, s *scenario.Scenario, subject box.Subject, reason string) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	raw, err := s.Play(ctx, box.Postfix())
	if err != nil {
		t.Fatalf("postfix: %v", err)
	}
	want := raw.Transcript()
	if *update {
		save(t, s.Name, want)
	}
	if subject.Name != "postfix" {
		want = scenario.Apply(s.Differs, want)
	}
	d, err := differs(ctx, s, subject, want)
	if err == nil && d != "" && reason == "" {
		// Log lines of two processes can come in another order on a busy
		// machine: what differs must differ twice.
		d, err = differs(ctx, s, subject, want)
	}
	if err != nil {
		fail(t, reason, "%s: %v", subject.Name, err)
		return
	}
	if d != "" {
		fail(t, reason, "%s differs from postfix:\n%s", subject.Name, d)
		return
	}
	if reason != "" && subject.Name != "postfix" {
		t.Logf("agrees this time: see whether it can be struck from known.txt (%s)", reason)
	}
}

// fail reports a disagreement: as an error, or as a note when it is known.
func fail(t *testing.T, reason, format string, args ...any) {
	t.Helper()
	if reason != "" {
		t.Logf("known: "+reason+": "+format, args...)
		return
	}
	t.Errorf(format, args...)
}

// save writes the transcript of Postfix for reading.
func save(t *testing.T, name string, lines []string) {
	t.Helper()
	dir := filepath.Join("testdata", "postfix")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(lines, "\n") + "\n"
	if err := os.WriteFile(filepath.Join(dir, name+".golden"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
