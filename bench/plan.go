package main

import (
	"fmt"
)

// plan is one workload with its numbers.
type plan struct {
	Workload string
	Conns    int
	Size     int
	Messages int
	// Reuse sends many messages over one connection.
	Reuse bool
	// Once runs the plan in the first round only.
	Once bool
}

// String names the plan in the table.
func (p plan) String() string {
	switch p.Workload {
	case "idle":
		return fmt.Sprintf("idle sessions %d", p.Conns)
	case "backlog":
		return fmt.Sprintf("backlog %d", p.Messages)
	}
	size := fmt.Sprintf("%d B", p.Size)
	if p.Size >= 1<<20 {
		size = fmt.Sprintf("%d MiB", p.Size>>20)
	} else if p.Size >= 1024 {
		size = fmt.Sprintf("%d KiB", p.Size>>10)
	}
	return fmt.Sprintf("%s, %s, %d connections", p.Workload, size, p.Conns)
}

// plans spreads the options out.
func (o options) plans() ([]plan, error) {
	var all []plan
	for _, w := range o.workloads {
		switch w {
		case "relay", "reuse", "accept", "maildir":
			for _, size := range o.sizes {
				for _, c := range o.conns {
					all = append(all, plan{Workload: w, Conns: c, Size: size, Messages: o.count(c, size), Reuse: w == "reuse"})
				}
			}
		case "big":
			all = append(all, plan{Workload: w, Conns: 20, Size: 10 << 20 * 9 / 10, Messages: max(20, int(40*o.scale))})
		case "idle":
			all = append(all, plan{Workload: w, Conns: o.idle})
		case "backlog":
			all = append(all, plan{Workload: w, Conns: 20, Size: 2048, Messages: o.backlog, Reuse: true, Once: true})
		default:
			return nil, fmt.Errorf("unknown workload %q", w)
		}
	}
	return all, nil
}

// count is how many messages make a run of some seconds.
func (o options) count(conns, size int) int {
	n := 600.0
	if conns >= 10 {
		n = 3000
	}
	if conns >= 50 {
		n = 4000
	}
	if size > 32<<10 {
		n /= 2
	}
	return max(conns, int(n*o.scale))
}
