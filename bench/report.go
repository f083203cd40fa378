package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sort"

	"postroad/internal/testkit/box"
)

// save writes all results so far.
func save(path string, results []result) error {
	text, err := json.MarshalIndent(results, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// keys are the keys of a map in order.
func keys(m map[string]float64) []string {
	var all []string
	for k := range m {
		all = append(all, k)
	}
	sort.Strings(all)
	return all
}

// median is the middle of some numbers.
func median(all []float64) float64 {
	if len(all) == 0 {
		return 0
	}
	sorted := append([]float64(nil), all...)
	sort.Float64s(sorted)
	if n := len(sorted); n%2 == 0 {
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return sorted[len(sorted)/2]
}

// figure is one column: how to read it from a result.
type figure struct {
	name string
	of   func(result) float64
}

// figures are the columns of the table.
func figures() []figure {
	return []figure{
		{"msg/s", func(r result) float64 { return r.Rate }},
		{"CPU ms", func(r result) float64 { return r.CPU }},
		{"accept p50", func(r result) float64 { return r.AcceptP50 }},
		{"p99 ms", func(r result) float64 { return r.AcceptP99 }},
		{"arrive p50", func(r result) float64 { return r.ArriveP50 }},
		{"PSS MB", func(r result) float64 { return float64(r.PSS) / 1024 }},
		{"flushes", func(r result) float64 { return r.Flushes }},
		{"others", func(r result) float64 { return r.Others }},
	}
}

// table prints medians, and the last subject's ratios to the first: medians of
// the ratios within each round.
func table(w io.Writer, subjects []box.Subject, plans []plan, results []result) {
	fmt.Fprintf(w, "%-34s %-9s", "workload", "subject")
	for _, f := range figures() {
		fmt.Fprintf(w, " %10s", f.name)
	}
	fmt.Fprintln(w)
	for _, p := range plans {
		for _, s := range subjects {
			line(w, p, s.Name, pick(results, p, s.Name))
		}
		if len(subjects) < 2 {
			continue
		}
		first, last := pick(results, p, subjects[0].Name), pick(results, p, subjects[len(subjects)-1].Name)
		fmt.Fprintf(w, "%-34s %-9s", "", "ratio")
		for _, f := range figures() {
			fmt.Fprintf(w, " %10s", ratio(first, last, f.of))
		}
		fmt.Fprintln(w)
		for _, k := range more(first) {
			of := func(r result) float64 { return r.More[k] }
			fmt.Fprintf(w, "%-34s %-9s %.4g : %.4g (%s)\n", "", k, medianOf(first, of), medianOf(last, of), ratio(first, last, of))
		}
	}
}

// line prints the medians of one subject.
func line(w io.Writer, p plan, name string, rs []result) {
	fmt.Fprintf(w, "%-34s %-9s", p, name)
	for _, f := range figures() {
		fmt.Fprintf(w, " %10.4g", medianOf(rs, f.of))
	}
	fmt.Fprintln(w)
}

// pick selects the runs of one plan and subject.
func pick(results []result, p plan, subject string) []result {
	var all []result
	for _, r := range results {
		if r.Plan == p && r.Subject == subject {
			all = append(all, r)
		}
	}
	return all
}

// medianOf is the median of one figure.
func medianOf(rs []result, of func(result) float64) float64 {
	var all []float64
	for _, r := range rs {
		all = append(all, of(r))
	}
	return median(all)
}

// ratio is the median of the ratios within each round.
func ratio(first, last []result, of func(result) float64) string {
	var all []float64
	for _, a := range first {
		for _, b := range last {
			if a.Round == b.Round && of(a) != 0 {
				all = append(all, of(b)/of(a))
			}
		}
	}
	if len(all) == 0 {
		return "-"
	}
	return fmt.Sprintf("%.3gx", median(all))
}

// more lists the figures that only this workload has.
func more(rs []result) []string {
	if len(rs) == 0 {
		return nil
	}
	return keys(rs[0].More)
}
