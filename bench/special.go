package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"time"

	"postroad/internal/testkit"
	"postroad/internal/testkit/box"
)

// idle opens sessions that say EHLO and then nothing, and weighs them.
func (s *session) idle(ctx context.Context) error {
	warm := plan{Workload: "relay", Conns: 5, Size: 4096, Messages: 50}
	if _, err := runSourceProcess(ctx, box.ServerIP+":25", warm); err != nil {
		return err
	}
	s.plan.Workload = "relay"
	if err := s.arrive(ctx, warm.Messages); err != nil {
		return err
	}
	s.plan.Workload = "idle"
	testkit.Pause(ctx, time.Second)
	before, _ := held(s.Box)
	s.res.More["footprint KiB"] = float64(before)
	cpu, err := s.group.cpu()
	if err != nil {
		return err
	}
	began := time.Now()
	var open []*conn
	defer func() {
		for _, c := range open {
			_ = c.Close() // the run is over
		}
	}()
	for range s.plan.Conns {
		c, err := dial("198.51.100.9", box.ServerIP+":25")
		if err != nil {
			return fmt.Errorf("session %d: %w", len(open)+1, err)
		}
		open = append(open, c)
	}
	s.res.Rate = float64(len(open)) / time.Since(began).Seconds()
	testkit.Pause(ctx, 2*time.Second)
	after, rss := held(s.Box)
	used, err := s.group.cpu()
	if err != nil {
		return err
	}
	s.res.PSS, s.res.RSS = after, rss
	s.res.CPU = float64((used - cpu).Microseconds()) / 1000 / float64(len(open))
	s.res.More["KiB a session"] = float64(after-before) / float64(len(open))
	return nil
}

// backlog fills the queue with mail for a host that is down, then looks at new
// mail, at the listing, and at a restart.
func (s *session) backlog(ctx context.Context) error {
	cpu, err := s.group.cpu()
	if err != nil {
		return err
	}
	m := s.res.More
	if m["live before p50 ms"], _, err = s.live(ctx); err != nil {
		return err
	}
	mem := watchMemory(ctx, s.Box)
	began := time.Now()
	src, err := runSourceProcess(ctx, box.ServerIP+":25", s.plan, "-rcpt", "someone@down.test")
	if err != nil {
		return err
	}
	if err := s.deferred(ctx, s.plan.Messages); err != nil {
		return err
	}
	n := float64(s.plan.Messages)
	s.res.Rate = n / time.Since(began).Seconds()
	s.res.AcceptP50, s.res.AcceptP99, s.res.Retried = src.P50, src.P99, src.Failed
	used, err := s.group.cpu()
	if err != nil {
		return err
	}
	s.res.CPU = float64((used - cpu).Microseconds()) / 1000 / n
	s.res.PSS, s.res.RSS = mem.Stop()
	use, err := diskUse(ctx, s.Box, "/var/spool/postfix")
	if err != nil {
		return err
	}
	m["disk MB"] = float64(use) / 1e6
	if m["live p50 ms"], m["live max ms"], err = s.live(ctx); err != nil {
		return err
	}
	began = time.Now()
	if _, err := s.Must(ctx, "postqueue -p > "+s.Dir+"/work/listing"); err != nil {
		return err
	}
	m["listing s"] = time.Since(began).Seconds()
	return s.restart(ctx)
}

// restart measures a stop, and the time from the start to the first delivery.
func (s *session) restart(ctx context.Context) error {
	began := time.Now()
	if err := s.StopServer(ctx, "/etc/postfix"); err != nil {
		return err
	}
	s.res.More["stop s"] = time.Since(began).Seconds()
	began = time.Now()
	if err := s.start(ctx); err != nil {
		return err
	}
	if _, err := ask(s.in, s.out, "reset"); err != nil {
		return err
	}
	if _, err := runSourceProcess(ctx, box.ServerIP+":25", plan{Conns: 1, Size: 4096, Messages: 1}); err != nil {
		return err
	}
	s.plan.Workload = "relay"
	defer func() { s.plan.Workload = "backlog" }()
	if err := s.arrive(ctx, 1); err != nil {
		return err
	}
	s.res.More["restart to delivery s"] = time.Since(began).Seconds()
	return nil
}

// live sends single messages to a healthy host and returns the median and the
// longest time to their arrival.
func (s *session) live(ctx context.Context) (p50, longest float64, err error) {
	s.plan.Workload = "relay"
	defer func() { s.plan.Workload = "backlog" }()
	var times []float64
	for range 20 {
		if _, err := ask(s.in, s.out, "reset"); err != nil {
			return 0, 0, err
		}
		if _, err := runSourceProcess(ctx, box.ServerIP+":25", plan{Conns: 1, Size: 4096, Messages: 1}); err != nil {
			return 0, 0, err
		}
		if err := s.arrive(ctx, 1); err != nil {
			return 0, 0, err
		}
		a, err := ask(s.in, s.out, "")
		if err != nil {
			return 0, 0, err
		}
		times = append(times, a.P50)
	}
	sort.Float64s(times)
	return times[len(times)/2], times[len(times)-1], nil
}

// deferred waits until n messages are in the queue and none is on its way.
func (s *session) deferred(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Minute)
	defer cancel()
	var last error
	ok := testkit.Poll(ctx, 5*time.Second, func() bool {
		out, err := s.Must(ctx, `postqueue -j | grep -c '"queue_name": "deferred"'`)
		last = err
		var got int
		if _, err := fmt.Sscan(out.Stdout, &got); err != nil {
			return false
		}
		return got >= n
	})
	if !ok {
		return fmt.Errorf("the backlog is not deferred (%v)", last)
	}
	return nil
}

// rigInBox measures source and sink without a server between.
func rigInBox(ctx context.Context, b *box.Box, input json.RawMessage) (any, error) {
	var plans []plan
	if err := json.Unmarshal(input, &plans); err != nil {
		return nil, err
	}
	var rates []float64
	s := &session{Box: b}
	if err := s.startSink(ctx); err != nil {
		return nil, err
	}
	for _, p := range plans {
		r, err := runSourceProcess(ctx, "192.0.2.10:25", p)
		if err != nil {
			return nil, err
		}
		rates = append(rates, float64(r.Accepted)/r.Seconds)
	}
	return rates, nil
}

// rig prints what source and sink reach without a server.
func rig(ctx context.Context, o options, dir string) error {
	var plans []plan
	for _, size := range o.sizes {
		for _, c := range o.conns {
			plans = append(plans, plan{Workload: "rig", Conns: c, Size: size, Messages: 2 * o.count(c, size)},
				plan{Workload: "rig, reused", Conns: c, Size: size, Messages: 2 * o.count(c, size), Reuse: true})
		}
	}
	var rates []float64
	if err := box.Run(ctx, box.Options{Subject: box.Postfix(), Disk: true, Dir: dir}, "rig", plans, &rates); err != nil {
		return err
	}
	fmt.Println("Source and sink without a server between them:")
	for i, p := range plans {
		fmt.Printf("  %-40s %8.0f/s\n", p, rates[i])
	}
	fmt.Fprintln(os.Stdout)
	return nil
}
