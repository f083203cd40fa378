package qmgr

import (
	"strings"
	"time"

	"postroad/internal/mail"
)

// Settings are the main.cf parameters that qmgr(8) reads, but for those formed
// from transport names, which are in Limits.
type Settings struct {
	// MinimalBackoff and MaximalBackoff bound the time between attempts.
	MinimalBackoff time.Duration `postconf:"minimal_backoff_time"`
	MaximalBackoff time.Duration `postconf:"maximal_backoff_time"`
	// Lifetime is when a message goes back, BounceLifetime when it is a bounce.
	Lifetime       time.Duration `postconf:"maximal_queue_lifetime"`
	BounceLifetime time.Duration `postconf:"bounce_queue_lifetime"`
	// DelayWarning is the age at which the sender is warned; 0 is never.
	DelayWarning time.Duration `postconf:"delay_warning_time"`
	// ConfirmCleared tells a sender who was warned that the message has arrived.
	ConfirmCleared bool `postconf:"confirm_delay_cleared"`
	// ActiveLimit bounds the messages in memory.
	ActiveLimit int `postconf:"qmgr_message_active_limit"`
	// PendingProbes bounds the probes of verify(8) under way.
	PendingProbes int `postconf:"address_verify_pending_request_limit"`
	// SoftBounce turns every bounce into a deferral.
	SoftBounce bool `postconf:"soft_bounce"`
	// DelayDigits bounds the decimals of delay= in the log.
	DelayDigits int `postconf:"delay_logging_resolution_limit"`
	// FilterNexthop is where a content filter without a next hop is; empty is the
	// domain of the recipient.
	FilterNexthop string `postconf:"default_filter_nexthop"`
	// DeferTransports lists transports whose mail waits for a flush.
	DeferTransports []string `postconf:"defer_transports"`
	// NoVERPBounces reports the failures of a message with VERP together.
	NoVERPBounces bool `postconf:"disable_verp_bounces"`
	// DoubleBounce is the local part that nothing is returned to.
	DoubleBounce string `postconf:"double_bounce_sender"`
}

// Adjust makes the settings agree with each other.
func (s *Settings) Adjust(warn func(format string, args ...any)) {
	if s.BounceLifetime > s.Lifetime {
		warn("bounce_queue_lifetime is larger than maximal_queue_lifetime - adjusting bounce_queue_lifetime")
		s.BounceLifetime = s.Lifetime
	}
}

// lifetime is how long a message may wait.
func (s *Settings) lifetime(sender mail.Address) time.Duration {
	if sender == "" {
		return s.BounceLifetime
	}
	return s.Lifetime
}

// retryAt is when to try a message of that age again: the waiting time is its
// age, within the bounds.
func (s *Settings) retryAt(now, arrived time.Time) time.Time {
	wait := now.Sub(arrived)
	return now.Add(min(max(wait, s.MinimalBackoff), max(s.MaximalBackoff, s.MinimalBackoff)))
}

// expired tells whether a message that failed now has waited long enough.
func (s *Settings) expired(env *mail.Envelope, now time.Time) bool {
	return now.Sub(env.Arrived) >= s.lifetime(env.Sender)
}

// discards tells whether mail is for the sender of our own notices, which nobody
// reads.
func (s *Settings) discards(r mail.Route) bool {
	return r.Class == mail.ClassLocal && s.DoubleBounce != "" && strings.EqualFold(r.Recipient.Local(), s.DoubleBounce)
}
