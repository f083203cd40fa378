package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"postroad/internal/testkit/box"
)

// options are what the command line chooses.
type options struct {
	rounds    int
	workloads []string
	conns     []int
	sizes     []int
	scale     float64
	backlog   int
	idle      int
	bin, out  string
	subjects  []string
}

func main() {
	box.Main(map[string]box.Job{"run": runInBox, "rig": rigInBox})
	if len(os.Args) > 1 && (os.Args[1] == "source" || os.Args[1] == "sink") {
		if err := tool(os.Args[1], os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := bench(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// tool is the part of the load source or of the sink.
func tool(name string, args []string) error {
	if name == "source" {
		return runSource(args)
	}
	return runSink(args)
}

// parse reads the command line.
func parse(args []string) (options, error) {
	var o options
	var workloads, conns, sizes, subjects string
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.IntVar(&o.rounds, "rounds", 3, "rounds; each runs every subject once per workload")
	f.StringVar(&workloads, "workloads", "relay,accept,maildir,big,idle,backlog", "of relay, reuse, accept, maildir, big, idle, backlog")
	f.StringVar(&conns, "conns", "1,20,100", "connections")
	f.StringVar(&sizes, "sizes", "4096,65536", "bytes of a message")
	f.Float64Var(&o.scale, "scale", 1, "factor on the number of messages")
	f.IntVar(&o.backlog, "backlog", 100_000, "deferred messages of the backlog workload")
	f.IntVar(&o.idle, "idle", 1000, "sessions of the idle workload")
	f.StringVar(&o.bin, "bin", "bin", "where make build has put postroad")
	f.StringVar(&o.out, "out", filepath.Join("bench", "out"), "where the results go, and the spools during the runs")
	f.StringVar(&subjects, "subjects", "postfix,postroad", "whom to measure")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.workloads = strings.Split(workloads, ",")
	o.subjects = strings.Split(subjects, ",")
	var err error
	if o.conns, err = numbers(conns); err != nil {
		return o, err
	}
	o.sizes, err = numbers(sizes)
	return o, err
}

// numbers splits a list of whole numbers.
func numbers(s string) ([]int, error) {
	var all []int
	for w := range strings.SplitSeq(s, ",") {
		n, err := strconv.Atoi(w)
		if err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	return all, nil
}

// bench runs everything and prints the table.
func bench(ctx context.Context, args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(o.out, "stage-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	var subjects []box.Subject
	for _, name := range o.subjects {
		s := box.Postfix()
		if name != "postfix" {
			if s, err = box.Stage(name, o.bin, dir); err != nil {
				return err
			}
		}
		subjects = append(subjects, s)
	}
	plans, err := o.plans()
	if err != nil {
		return err
	}
	if err := rig(ctx, o, dir); err != nil {
		return err
	}
	path := filepath.Join(o.out, "results-"+time.Now().Format("20060102-150405")+".json")
	var results []result
	for round := range o.rounds {
		for _, p := range plans {
			if p.Once && round > 0 {
				continue
			}
			for i := range subjects {
				// Turn about: nobody is always the one with the warm cache.
				s := subjects[(i+round)%len(subjects)]
				r, err := one(ctx, dir, s, p)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", p, s.Name, err)
				}
				r.Round = round + 1
				results = append(results, r)
				fmt.Fprintln(os.Stderr, r)
				if err := save(path, results); err != nil {
					return err
				}
			}
		}
	}
	table(os.Stdout, subjects, plans, results)
	return nil
}

// one runs a plan once.
func one(ctx context.Context, dir string, s box.Subject, p plan) (result, error) {
	r := result{Subject: s.Name, Plan: p}
	err := box.Run(ctx, box.Options{Subject: s, Disk: true, Dir: dir}, "run", p, &r)
	return r, err
}
