package cli

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"strings"

	"postroad/internal/control"
	"postroad/internal/limits"
)

var errLimits = errors.New("usage: postroad limits [-c config_dir] [-json] [-limit name] [key] | postroad limits -reset [-limit name] key | postroad limits -reset -all")

// limitRow is a counter of "postroad limits".
type limitRow struct {
	Limit string         `json:"limit"`
	Key   string         `json:"key"`
	Used  map[string]int `json:"used"`
}

// runLimits is "postroad limits": what postroad_limit has counted, and how to forget
// it.
func runLimits(e *Env) int {
	f := flag.NewFlagSet("postroad limits", flag.ContinueOnError)
	f.SetOutput(e.Stderr)
	dir := f.String("c", "", "the configuration `directory`")
	asJSON := f.Bool("json", false, "write JSON, one counter a line")
	reset := f.Bool("reset", false, "set the counters to zero")
	all := f.Bool("all", false, "with -reset: those of all keys")
	name := f.String("limit", "", "only the counters of this `name`")
	if err := f.Parse(e.Args); err != nil {
		return 1
	}
	sel := control.LimitSelection{Rule: *name, Key: strings.ToLower(f.Arg(0))}
	if f.NArg() > 1 || *reset && (sel.Key == "") != *all || *all && !*reset {
		return e.Fatalf(1, "%v", errLimits)
	}
	c, err := e.load(*dir)
	if err != nil {
		return e.Fatalf(1, "%v", err)
	}
	client, ctx := control.NewClient(c.settings.QueueDirectory), context.Background()
	if *reset {
		n, err := client.ResetLimits(ctx, sel)
		if err != nil {
			return e.Fatalf(1, "%v", err)
		}
		e.Printf("%s reset\n", count(n, "counter"))
		return 0
	}
	if err := client.Limits(ctx, sel, func(l *control.Limit) error { return e.printLimit(l, *asJSON) }); err != nil {
		return e.Fatalf(1, "%v", err)
	}
	return 0
}

// printLimit writes one counter.
func (e *Env) printLimit(l *control.Limit, asJSON bool) error {
	row := limitRow{l.Rule, l.Key, map[string]int{}}
	text := make([]string, 0, len(l.Used))
	for _, u := range l.Used {
		row.Used[limits.Period(u.Per)] = u.Used
		text = append(text, fmt.Sprintf("%d in %s", u.Used, limits.Period(u.Per)))
	}
	if !asJSON {
		e.Printf("%s\t%s\t%s\n", l.Rule, l.Key, strings.Join(text, ", "))
		return nil
	}
	out, err := json.Marshal(row)
	if err != nil {
		return err
	}
	e.Printf("%s\n", out)
	return nil
}
