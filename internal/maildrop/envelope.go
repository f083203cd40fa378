package maildrop

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"postroad/internal/mail"
)

const (
	// MaxRecipients bounds the recipients of one file.
	MaxRecipients = 100_000
	// maxAttrs bounds the attributes of one envelope, those of its recipients
	// not counted; Postfix has the same limit.
	maxAttrs = 1024
	// maxText bounds one address, name or attribute.
	maxText = 16 << 10
)

// Recipient is one recipient as it was given on the command line or found in
// the header.
type Recipient struct {
	// Address is in internal form and need not have a domain.
	Address mail.Address
	// Original is what the message first went to; of a requeued message only.
	Original mail.Address
	// ORCPT and Notify are the DSN parameters (RFC 3461).
	ORCPT  string
	Notify mail.Notify
}

// Envelope is what sendmail(1) knows about a message beside its content.
type Envelope struct {
	// Queued is when the message was submitted. pickup only warns by it; the
	// queue lifetime counts from the moment of the pickup's commit.
	Queued time.Time
	// FullName is the name of the submitting user, for a From header.
	FullName string
	// Sender is the envelope sender as given, internal form.
	Sender mail.Address
	// Recipients are those known before the content.
	Recipients []Recipient
	// EnvID, Ret and VERP are options -V, -R and -XV.
	EnvID string
	Ret   mail.Ret
	VERP  string
	// Encoding is "8bit", "7bit" or empty (option -B).
	Encoding string
	// Trace is option -v: report about the delivery. Probe is -bv: route and
	// check, deliver nothing, report.
	Trace, Probe bool
	// SMTPUTF8 is option -O smtputf8=yes (RFC 6531).
	SMTPUTF8 bool
	// RequireTLS is option -O requiretls=yes (RFC 8689).
	RequireTLS bool
	// Gateway is option -G: header addresses are completed as those of a stranger.
	Gateway bool
	// Returned is the envelope of a message of the queue that was put back for a
	// new cleaning; nil for a submission. See Requeue.
	Returned *mail.Envelope
}

// Bits of the sender's options that Postfix keeps in the sixth number of a size
// record.
const (
	optSMTPUTF8    = 1
	optTLSOptional = 16
	optRequireTLS  = 32
)

// SenderOptions are those options as a number.
func SenderOptions(utf8, tlsOptional, requireTLS bool) int {
	n := 0
	for _, o := range [...]struct {
		on  bool
		bit int
	}{{utf8, optSMTPUTF8}, {tlsOptional, optTLSOptional}, {requireTLS, optRequireTLS}} {
		if o.on {
			n |= o.bit
		}
	}
	return n
}

// sizeRecord writes a size record whose sizes are not known.
func sizeRecord(options int) string {
	return strings.Repeat(fmt.Sprintf("%15d ", -1), 5) + fmt.Sprintf("%15d", options)
}

// setOptions reads a size record. The sizes are not trusted; cleanup counts.
func (e *Envelope) setOptions(text string) {
	if fields := strings.Fields(text); len(fields) > 5 {
		if n, err := strconv.Atoi(fields[5]); err == nil {
			e.SMTPUTF8, e.RequireTLS = n&optSMTPUTF8 != 0, n&optRequireTLS != 0
		}
	}
}

// Bits of Postfix's trace_flags attribute.
const (
	traceUserProbe = 1 << 9  // sendmail -bv
	traceRecord    = 1 << 10 // sendmail -v
)

// TraceFlags are Postfix's trace_flags.
func TraceFlags(probe, trace bool) int {
	flags := 0
	if probe {
		flags |= traceUserProbe
	}
	if trace {
		flags |= traceRecord
	}
	return flags
}

// attributes lists the attributes of the envelope in the order of writing.
func (e *Envelope) attributes() []string {
	var out []string
	if e.EnvID != "" {
		out = append(out, "envelope_id="+e.EnvID)
	}
	if e.Ret != mail.RetUnset {
		out = append(out, "ret_flags="+strconv.Itoa(int(e.Ret)))
	}
	if flags := TraceFlags(e.Probe, e.Trace); flags != 0 {
		out = append(out, "trace_flags="+strconv.Itoa(flags))
	}
	switch {
	case e.Returned != nil:
		return append(out, returnedAttributes(&e.Returned.Client)...)
	case e.Gateway:
		return append(out, "rewrite_context=remote")
	}
	return append(out, "rewrite_context=local")
}

// setAttr takes one attribute; an unknown one is ignored, since a local user
// may write what he likes and none of the others is his to set.
func (e *Envelope) setAttr(name, value string) error {
	if e.Returned != nil && setReturned(&e.Returned.Client, name, value) {
		return nil
	}
	switch name {
	case "envelope_id":
		e.EnvID = value
	case "ret_flags":
		n, err := strconv.Atoi(value)
		if err != nil || n < int(mail.RetUnset) || n > int(mail.RetHeaders) {
			return formatError("ret_flags=%.20q", value)
		}
		e.Ret = mail.Ret(n)
	case "trace_flags":
		n, err := strconv.Atoi(value)
		if err != nil {
			return formatError("trace_flags=%.20q", value)
		}
		e.Trace, e.Probe = n&traceRecord != 0, n&traceUserProbe != 0
	case "rewrite_context":
		e.Gateway = value == "remote"
	case "encoding":
		if strings.EqualFold(value, "8bit") || strings.EqualFold(value, "7bit") {
			e.Encoding = strings.ToLower(value)
		}
	}
	return nil
}

// parseTime reads the T record: seconds and perhaps microseconds.
func parseTime(s string) (time.Time, error) {
	whole, frac, _ := strings.Cut(s, " ")
	sec, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || sec < 0 {
		return time.Time{}, formatError("time %.40q", s)
	}
	usec, err := strconv.ParseInt(strings.TrimSpace(frac), 10, 64)
	if err != nil || usec < 0 || usec > 999_999 {
		usec = 0
	}
	return time.Unix(sec, usec*1000), nil
}

// clean refuses envelope text that could break a record, a header or a log
// line apart.
func clean(kind byte, s string) error {
	if len(s) > maxText {
		return formatError("type %c of %d bytes", kind, len(s))
	}
	if strings.ContainsAny(s, "\x00\r\n") {
		return formatError("type %c with a line break or NUL", kind)
	}
	return nil
}
