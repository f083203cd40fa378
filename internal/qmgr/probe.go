package qmgr

import (
	"strings"

	"postroad/internal/mail"
	"postroad/internal/verify"
)

// Verifier takes the answers to probes of verify(8).
type Verifier interface {
	// Update tells what became of a probe; names are the addresses that it was
	// about.
	Update(status verify.Status, text string, names ...mail.Address) error
}

// tooManyProbes is the answer to probes beyond address_verify_pending_request_limit.
const tooManyProbes mail.Nexthop = "4.3.2 Too many address verification requests"

// probed turns the answer to a probe into its own words: nothing is deferred or
// bounced, so that a probe never waits and nobody gets a report of failure.
func probed(res *mail.Result) {
	switch res.Outcome {
	case mail.Sent:
		res.Outcome = mail.Deliverable
	case mail.Deferred, mail.Bounced:
		res.Outcome = mail.Undeliverable
	}
}

// probeAnswer takes in the answer to a probe. It does nothing for other mail.
func (m *Manager) probeAnswer(env *mail.Envelope, a *answer) {
	if !env.Probe {
		return
	}
	probed(&a.res)
	gen := m.gen.Load()
	if !env.Verify || gen.Verify == nil {
		return
	}
	status := verify.Deliverable
	switch {
	case a.res.Outcome == mail.Deliverable:
	case strings.HasPrefix(a.res.Enhanced, "5"):
		status = verify.Undeliverable
	default:
		status = verify.Deferred
	}
	if err := gen.Verify.Update(status, a.res.Text, a.rcpt.Original, a.rcpt.Address); err != nil {
		m.log.Warnf("%s: verify service failure: %v", env.ID, err)
	}
}

// remember puts a message into memory. The lock is held.
func (m *Manager) remember(msg *message) {
	m.messages[msg.env.ID] = msg
	if msg.env.Verify {
		m.probes++
	}
}

// dismiss takes a message out of memory. The lock is held.
func (m *Manager) dismiss(msg *message) {
	if m.messages[msg.env.ID] == msg && msg.env.Verify {
		m.probes--
	}
	delete(m.messages, msg.env.ID)
}

// tooMany tells whether a message is one probe too many.
func (m *Manager) tooMany(env *mail.Envelope) bool {
	if !env.Verify {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.probes > m.gen.Load().Settings.PendingProbes
}
