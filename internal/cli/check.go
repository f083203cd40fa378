package cli

import (
	"encoding/json"
	"flag"
	"fmt"
	"strings"

	"postroad/internal/check"
	"postroad/internal/postconf"
)

// runCheck is "postroad check": what a configuration means and what is wrong with
// it, for anybody who can read it. Unlike "postfix check" it touches nothing. The
// exit code is 1 when there is an error.
func runCheck(e *Env) int {
	f := flag.NewFlagSet("postroad check", flag.ContinueOnError)
	f.SetOutput(e.Stderr)
	dir := f.String("c", "", "the configuration `directory`")
	asJSON := f.Bool("json", false, "write the findings as JSON")
	if err := f.Parse(e.Args); err != nil {
		return 1
	}
	if f.NArg() > 0 {
		return e.Fatalf(1, "usage: postroad check [-c config_dir] [-json]")
	}
	var err error
	if *dir, err = e.absoluteDir(*dir); err != nil {
		return e.Fatalf(1, "%v", err)
	}
	cfg, problems := postconf.Load(*dir, postconf.LoadOptions{})
	var s Settings
	problems = append(problems, cfg.View(nil).Decode(&s)...)
	if e.Host.Check != nil && !postconf.HasFatal(problems) {
		problems = append(problems, e.Host.Check(cfg)...)
	}
	found := check.Run(cfg, problems)
	if *asJSON {
		return printJSON(e, found)
	}
	return e.printFindings(*dir, found)
}

// printJSON writes findings for programs.
func printJSON(e *Env, found []check.Finding) int {
	if found == nil {
		found = []check.Finding{} // an empty list, not null
	}
	out, err := json.MarshalIndent(found, "", "  ")
	if err != nil {
		return e.Fatalf(1, "%v", err)
	}
	e.Printf("%s\n", out)
	if countOf(found, check.Error) > 0 {
		return 1
	}
	return 0
}

// printFindings writes findings for people.
func (e *Env) printFindings(dir string, found []check.Finding) int {
	for _, f := range found {
		fmt.Fprintf(e.Stderr, "%s: %s: %s\n", e.Prog, f.Severity, findingText(&f))
	}
	errors, warnings, notes := countOf(found, check.Error), countOf(found, check.Warning), countOf(found, check.Note)
	summary := count(errors, "error") + ", " + count(warnings, "warning") + ", " + count(notes, "note")
	if errors > 0 {
		return e.Fatalf(1, "%s: %s", dir, summary)
	}
	e.Printf("%s: %s\n", dir, summary)
	return 0
}

// findingText is "file, line N: text; suggestion".
func findingText(f *check.Finding) string {
	p := postconf.Problem{Origin: postconf.Origin{File: f.File, Line: f.Line}, Text: f.Text, Suggestion: f.Suggestion}
	return strings.ReplaceAll(p.Error(), "\n", " ")
}

func countOf(found []check.Finding, s check.Severity) (n int) {
	for _, f := range found {
		if f.Severity == s {
			n++
		}
	}
	return n
}

// count writes a number with its noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
