package access

import (
	"strings"

	"postroad/internal/mail"
)

// Step is one rule that was evaluated, for whoever wants to see why a verdict is
// what it is.
type Step struct {
	// Depth is 1 for a rule of a list, more for one inside a class or a table's
	// answer. List is the parameter or class, Index counts in it from 0.
	Depth int
	List  string
	Index int
	// Rule is the rule as it is written, Key the table key that it found.
	Rule, Key string
	// Result is what the table said for the key.
	Result string
	// Outcome is "no match", "action" for something that a table wants done and
	// that decides nothing, "warned" for a refusal behind warn_if_reject, "permit",
	// "reject", "deferred" when the rule asks for a refusal in case the command would
	// be permitted, or "not asked" for a policy
	// server, which would remember the question, and for an address that is verified
	// with a probe. A limit says what is used of it.
	Outcome string
	// Status is the reply of a refusal.
	Status mail.Status
}

// notAsked is the outcome of a rule that asks nobody for a trace.
const notAsked = "not asked"

// said is what the current rule has led to that is no verdict.
type said struct {
	result  string
	warning mail.Status
}

// Trace calls f after every rule from now on.
func (c *Checker) Trace(f func(Step)) { c.trace = f }

// step tells the trace about a rule; held is whether a refusal was held back
// before it.
func (c *Checker) step(r *rule, o outcome, held bool) {
	s := Step{Depth: c.depth, List: r.list.param, Index: r.index, Rule: r.word, Key: c.key, Result: c.said.result}
	if r.spec != "" {
		s.Rule += " " + r.spec
	}
	switch {
	case o == permit:
		s.Outcome = "permit"
	case o == refuse:
		s.Outcome, s.Status = "reject", c.verdict.Status
	case c.ifPermit.active && !held:
		s.Outcome, s.Status = "deferred", c.ifPermit.verdict.Status
	case c.said.warning.Code != 0:
		s.Outcome, s.Status = "warned", c.said.warning
	case s.Result != "" && !strings.EqualFold(s.Result, "DUNNO"):
		s.Outcome = "action"
	case r.policy != nil:
		s.Outcome = notAsked
	case c.note != "":
		s.Outcome = c.note
	default:
		s.Outcome = "no match"
	}
	if c.note != "" && s.Outcome != c.note {
		s.Outcome += ", " + c.note
	}
	c.note = ""
	c.trace(s)
}
