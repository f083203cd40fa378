package qmgr

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"postroad/internal/postconf"
)

// ReadLimits reads the limits of the transport that a master.cf service is: the
// parameters that are formed from its name, and its process limit. They count
// in main.cf only, as in Postfix: an -o of the agent does not change them.
func ReadLimits(main *postconf.View, s *postconf.Service) (Limits, []postconf.Problem) {
	r := &limitReader{view: main, name: s.Name}
	l := Limits{
		Concurrency:    r.number("_destination_concurrency_limit"),
		Initial:        r.number("_initial_destination_concurrency"),
		Recipients:     r.number("_destination_recipient_limit"),
		Positive:       r.feedback("_destination_concurrency_positive_feedback"),
		Negative:       r.feedback("_destination_concurrency_negative_feedback"),
		Cohorts:        float64(r.number("_destination_concurrency_failed_cohort_limit")),
		Processes:      s.MaxProc,
		RateDelay:      0,
		TransportDelay: 0,
	}
	var err error
	if l.RateDelay, err = main.Duration(r.name + "_destination_rate_delay"); err != nil {
		r.note(err)
	}
	if l.TransportDelay, err = main.Duration(r.name + "_transport_rate_delay"); err != nil {
		r.note(err)
	}
	if l.Processes < 0 {
		l.Processes = r.value("default_process_limit")
	}
	return l, r.problems
}

type limitReader struct {
	view     *postconf.View
	name     string
	problems []postconf.Problem
}

func (r *limitReader) note(err error) {
	r.problems = append(r.problems, postconf.Problem{Fatal: true, Text: err.Error()})
}

func (r *limitReader) number(suffix string) int { return r.value(r.name + suffix) }

func (r *limitReader) value(name string) int {
	n, err := r.view.Int(name)
	if err != nil {
		r.note(err)
	}
	return int(n)
}

// feedback reads "1", "0.5/concurrency" or "1/sqrt_concurrency".
func (r *limitReader) feedback(suffix string) Feedback {
	text, err := r.view.Value(r.name + suffix)
	if err != nil {
		r.note(err)
		return Feedback{}
	}
	f, err := parseFeedback(text)
	if err != nil {
		r.note(fmt.Errorf("bad value for %s%s: %w", r.name, suffix, err))
	}
	return f
}

func parseFeedback(text string) (Feedback, error) {
	amount, unit, _ := strings.Cut(text, "/")
	n, err := strconv.ParseFloat(strings.TrimSpace(amount), 64)
	if err != nil || n < 0 {
		return Feedback{}, fmt.Errorf("%q is no number", amount)
	}
	switch strings.TrimSpace(unit) {
	case "":
		return Feedback{Amount: n}, nil
	case "concurrency":
		return Feedback{Amount: n, Power: 1}, nil
	case "sqrt_concurrency":
		return Feedback{Amount: n, Power: 0.5}, nil
	}
	return Feedback{}, fmt.Errorf("%q is neither concurrency nor sqrt_concurrency", unit)
}

// limitSuffixes are the endings of the parameters that ReadLimits reads.
var limitSuffixes = []string{
	"_destination_concurrency_limit", "initial_destination_concurrency", "_destination_recipient_limit",
	"_destination_concurrency_positive_feedback", "_destination_concurrency_negative_feedback",
	"_destination_concurrency_failed_cohort_limit", "_destination_rate_delay", "_transport_rate_delay",
}

// ReadsLimit tells whether a name is one of those that ReadLimits reads, or the
// default of one.
func ReadsLimit(name string) bool {
	return slices.ContainsFunc(limitSuffixes, func(suffix string) bool { return strings.HasSuffix(name, suffix) })
}
