package testkit

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// sinkRule is one line of a sink's script.
type sinkRule struct {
	verb    string
	match   *regexp.Regexp
	left    int // how often it still holds; negative means always
	actions []sinkAction
}

// sinkAction is one thing a sink does instead of its ordinary reply.
type sinkAction struct {
	kind  string // reply, close, reset, stall
	text  string
	delay time.Duration
}

// sinkSetup is a parsed script.
type sinkSetup struct {
	rules []*sinkRule
	lmtp  bool
	tls   bool
	name  string
}

// parseSink reads a sink's script; the grammar is described at Sink.
func parseSink(script string) (*sinkSetup, error) {
	s := &sinkSetup{name: "sink.test"}
	for i, line := range strings.Split(script, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if err := s.add(line); err != nil {
			return nil, fmt.Errorf("sink line %d: %q: %w", i+1, line, err)
		}
	}
	return s, nil
}

// add takes one line of the script.
func (s *sinkSetup) add(line string) error {
	verb, rest, _ := strings.Cut(line, " ")
	rest = strings.TrimSpace(rest)
	switch verb {
	case "lmtp":
		s.lmtp = true
		return nil
	case "tls":
		s.tls = true
		return nil
	case "name":
		s.name = rest
		return nil
	}
	r := &sinkRule{verb: strings.ToUpper(verb), left: -1}
	if strings.HasPrefix(rest, "/") {
		pattern, after, ok := strings.Cut(rest[1:], "/")
		if !ok {
			return fmt.Errorf("no second slash")
		}
		re, err := regexp.Compile("(?i)" + pattern)
		if err != nil {
			return err
		}
		r.match, rest = re, strings.TrimSpace(after)
	}
	if after, ok := strings.CutPrefix(rest, "times="); ok {
		n, more, _ := strings.Cut(after, " ")
		left, err := strconv.Atoi(n)
		if err != nil {
			return err
		}
		r.left, rest = left, strings.TrimSpace(more)
	}
	for part := range strings.SplitSeq(rest, ";") {
		a, err := parseSinkAction(strings.TrimSpace(part))
		if err != nil {
			return err
		}
		r.actions = append(r.actions, a)
	}
	s.rules = append(s.rules, r)
	return nil
}

// parseSinkAction reads one action of a rule.
func parseSinkAction(text string) (sinkAction, error) {
	word, rest, _ := strings.Cut(text, " ")
	switch {
	case word == "close" || word == "reset":
		return sinkAction{kind: word}, nil
	case word == "stall":
		d, err := time.ParseDuration(strings.TrimSpace(rest))
		return sinkAction{kind: word, delay: d}, err
	case len(word) >= 3 && word[0] >= '0' && word[0] <= '9', strings.HasPrefix(word, "raw:"):
		text = strings.TrimPrefix(text, "raw:")
		return sinkAction{kind: "reply", text: strings.ReplaceAll(text, `\n`, "\r\n") + "\r\n"}, nil
	}
	return sinkAction{}, fmt.Errorf("unknown action %q", text)
}
