package main

import (
	"bytes"
	"encoding/json"
	"net"
	"strings"
	"testing"
	"time"

	"postroad/internal/testkit/box"
)

func TestMedianAndRatio(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in   []float64
		want float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{3, 1, 2}, 2}, {[]float64{4, 1, 2, 3}, 2.5}} {
		if got := median(c.in); got != c.want {
			t.Errorf("median(%v) = %v", c.in, got)
		}
	}
	// The ratio is that of each round, not that of the medians.
	first := []result{{Round: 1, Rate: 10}, {Round: 2, Rate: 100}, {Round: 3, Rate: 1}}
	last := []result{{Round: 1, Rate: 50}, {Round: 2, Rate: 500}, {Round: 3, Rate: 5}}
	if got := ratio(first, last, func(r result) float64 { return r.Rate }); got != "5x" {
		t.Errorf("ratio %s", got)
	}
	if got := ratio(nil, last, func(r result) float64 { return r.Rate }); got != "-" {
		t.Errorf("ratio of nothing %s", got)
	}
}

func TestPlans(t *testing.T) {
	t.Parallel()
	o, err := parse([]string{"-workloads", "relay,reuse,big,idle,backlog", "-conns", "1,20", "-sizes", "4096", "-scale", "0.5"})
	if err != nil {
		t.Fatal(err)
	}
	plans, err := o.plans()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range plans {
		names = append(names, p.String())
	}
	want := "relay, 4 KiB, 1 connections|relay, 4 KiB, 20 connections|reuse, 4 KiB, 1 connections|reuse, 4 KiB, 20 connections|" +
		"big, 9 MiB, 20 connections|idle sessions 1000|backlog 100000"
	if got := strings.Join(names, "|"); got != want {
		t.Errorf("plans %s", got)
	}
	if plans[0].Messages != 300 || !plans[2].Reuse || !plans[6].Once {
		t.Errorf("plans %+v", plans)
	}
	o.workloads = []string{"dance"}
	if _, err := o.plans(); err == nil {
		t.Error("an unknown workload was taken")
	}
	for _, args := range [][]string{{"-conns", "x"}, {"-sizes", ""}, {"-nothing"}} {
		if _, err := parse(args); err == nil {
			t.Errorf("%q was taken", args)
		}
	}
}

// TestSourceAndSink sends from one to the other: nothing is lost, no dot ends
// a message early, and the times are those of the messages.
func TestSourceAndSink(t *testing.T) {
	t.Parallel()
	for _, reuse := range []bool{false, true} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		k := &sink{}
		// goroutine: ends when the listener closes at the end of the test.
		go k.accept(l)
		s := &source{addr: l.Addr().String(), from: "127.0.0.1", rcpt: "u%d@box.test", users: 3, reuse: reuse, body: filler(5000)}
		s.left.Store(50)
		s.work()
		r := s.report(time.Second)
		if r.Accepted != 50 || r.Failed != 0 || r.P50 <= 0 || r.P99 < r.P50 {
			t.Errorf("source %+v", r)
		}
		if a := k.report(true); a.Messages != 50 || a.P50 <= 0 || a.Last < a.First {
			t.Errorf("sink %+v", a)
		}
		if a := k.report(false); a.Messages != 0 {
			t.Errorf("after reset %+v", a)
		}
	}
}

func TestSourceReportsFailures(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	s := &source{addr: addr, from: "127.0.0.1", body: filler(100), failed: 1999}
	s.left.Store(5)
	s.work()
	if r := s.report(time.Second); r.Accepted != 0 || r.Failed < 2000 || r.FirstError == "" {
		t.Errorf("%+v", r)
	}
}

func TestFiller(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 4096, 65536} {
		b := filler(size)
		if len(b) > max(size, 400) || !bytes.HasSuffix(b, endOfData) || bytes.Count(b, endOfData) != 1 {
			t.Errorf("filler(%d): %d bytes", size, len(b))
		}
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	p := plan{Workload: "relay", Conns: 20, Size: 4096, Messages: 10}
	rs := []result{
		{Round: 1, Subject: "postfix", Plan: p, Rate: 100, CPU: 4, More: map[string]float64{"listing s": 2}},
		{Round: 1, Subject: "postroad", Plan: p, Rate: 500, CPU: 0.5, More: map[string]float64{"listing s": 1}},
	}
	var b bytes.Buffer
	table(&b, []box.Subject{{Name: "postfix"}, {Name: "postroad"}}, []plan{p}, rs)
	for _, want := range []string{"relay, 4 KiB, 20 connections", "5x", "0.125x", "listing s 2 : 1 (0.5x)"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	text, err := json.Marshal(rs[0])
	if err != nil || !strings.Contains(string(text), `"Rate":100`) {
		t.Errorf("%s %v", text, err)
	}
	if s := rs[0].String(); !strings.Contains(s, "listing s 2") {
		t.Error(s)
	}
}
