package queue

import (
	"encoding/binary"
	"errors"
	"time"

	"postroad/internal/mail"
)

// errRecord says that a record of the store does not parse.
var errRecord = errors.New("queue: damaged record")

// recordVersion begins every envelope and job record.
const recordVersion = 1

// Bounds of what a record may claim, so that a damaged one cannot make us
// allocate without limit.
const (
	maxRecipients = 1 << 24
	maxString     = 1 << 24
)

// enc appends fields to a record.
type enc struct{ b []byte }

func (e *enc) u(n uint64)       { e.b = binary.AppendUvarint(e.b, n) }
func (e *enc) i(n int64)        { e.b = binary.AppendVarint(e.b, n) }
func (e *enc) s(s string)       { e.u(uint64(len(s))); e.b = append(e.b, s...) }
func (e *enc) when(t time.Time) { e.u(micros(t)) }

func (e *enc) flags(bits ...bool) {
	var n uint64
	for i, bit := range bits {
		if bit {
			n |= 1 << i
		}
	}
	e.u(n)
}

// dec reads them back; the first error sticks.
type dec struct {
	b   []byte
	err error
}

func (d *dec) fail() { d.b, d.err = nil, errRecord }

func (d *dec) u() uint64 {
	n, w := binary.Uvarint(d.b)
	if w <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[w:]
	return n
}

func (d *dec) i() int64 {
	n, w := binary.Varint(d.b)
	if w <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[w:]
	return n
}

func (d *dec) s() string {
	n := d.u()
	if n > maxString || n > uint64(len(d.b)) {
		d.fail()
		return ""
	}
	s := string(d.b[:n])
	d.b = d.b[n:]
	return s
}

func (d *dec) when() time.Time { return fromMicros(d.u()) }

func (d *dec) flags(bits ...*bool) {
	n := d.u()
	for i, bit := range bits {
		*bit = n&(1<<i) != 0
	}
}

// count reads a length and refuses one that the rest of the record cannot hold.
func (d *dec) count() int {
	n := d.u()
	if n > maxRecipients || n > uint64(len(d.b)) {
		d.fail()
		return 0
	}
	return int(n)
}

func encodeEnvelope(dst []byte, env *mail.Envelope, inline bool) []byte {
	e := &enc{b: append(dst, recordVersion)}
	e.flags(inline, env.SMTPUTF8, env.EightBit, env.Hold, env.Probe, env.Trace, env.Verify,
		env.RequireTLS, env.TLSOptional)
	e.s(string(env.Sender))
	e.when(env.Arrived)
	e.i(env.Size)
	e.u(uint64(env.Origin))
	e.u(uint64(env.Ret))
	e.i(int64(env.Hops))
	e.i(int64(env.Client.UID))
	for _, s := range envelopeStrings(env) {
		e.s(*s)
	}
	e.s(string(env.FilterTransport))
	e.s(string(env.FilterNexthop))
	e.s(string(env.Redirect))
	e.u(uint64(len(env.Recipients)))
	for i := range env.Recipients {
		encodeRecipient(e, &env.Recipients[i])
	}
	e.s(env.FullName)
	return e.b
}

// envelopeStrings lists the plain text fields in the order of the record.
func envelopeStrings(env *mail.Envelope) []*string {
	c := &env.Client
	return []*string{
		&env.EnvID, &env.MessageID, &env.VERP, &c.Name, &c.Addr, &c.Port, &c.Helo, &c.Proto, &c.ReverseName,
		&c.SASLMethod, &c.SASLUser, &c.SASLSender, &c.RewriteContext, &c.Ident,
	}
}

func encodeRecipient(e *enc, r *mail.Recipient) {
	e.s(string(r.Address))
	same := r.Original == r.Address
	e.flags(same)
	if !same {
		e.s(string(r.Original))
	}
	e.s(r.ORCPT)
	e.u(uint64(r.Notify))
}

// decodeEnvelope reads an envelope; inline tells where the content is.
func decodeEnvelope(id mail.QueueID, b []byte) (env *mail.Envelope, inline bool, err error) {
	if len(b) == 0 || b[0] != recordVersion {
		return nil, false, errRecord
	}
	d := &dec{b: b[1:]}
	env = &mail.Envelope{ID: id}
	d.flags(&inline, &env.SMTPUTF8, &env.EightBit, &env.Hold, &env.Probe, &env.Trace, &env.Verify,
		&env.RequireTLS, &env.TLSOptional)
	env.Sender = mail.Address(d.s())
	env.Arrived = d.when()
	env.Size = d.i()
	env.Origin = mail.Origin(d.u())
	env.Ret = mail.Ret(d.u())
	env.Hops = int(d.i())
	env.Client.UID = int(d.i())
	for _, s := range envelopeStrings(env) {
		*s = d.s()
	}
	env.FilterTransport = mail.Transport(d.s())
	env.FilterNexthop = mail.Nexthop(d.s())
	env.Redirect = mail.Address(d.s())
	env.Recipients = make([]mail.Recipient, d.count())
	for i := range env.Recipients {
		decodeRecipient(d, &env.Recipients[i])
	}
	if d.err == nil && len(d.b) > 0 { // an older record ends here
		env.FullName = d.s()
	}
	return env, inline, d.err
}

func decodeRecipient(d *dec, r *mail.Recipient) {
	r.Address = mail.Address(d.s())
	r.Original = r.Address
	var same bool
	d.flags(&same)
	if !same {
		r.Original = mail.Address(d.s())
	}
	r.ORCPT = d.s()
	r.Notify = mail.Notify(d.u())
}

// encodeNumbers writes recipient numbers as runs: a list delivered in order
// takes a few bytes.
func encodeNumbers(e *enc, nums []int32) {
	type run struct{ from, n int32 }
	var runs []run
	for _, n := range nums {
		if k := len(runs) - 1; k >= 0 && runs[k].from+runs[k].n == n {
			runs[k].n++
			continue
		}
		runs = append(runs, run{n, 1})
	}
	e.u(uint64(len(runs)))
	for _, r := range runs {
		e.u(uint64(r.from))
		e.u(uint64(r.n))
	}
}

func decodeNumbers(d *dec) []int32 {
	var nums []int32
	for range d.count() {
		from, n := d.u(), d.u()
		if from > maxRecipients || n > maxRecipients || len(nums)+int(n) > maxRecipients {
			d.fail()
			return nil
		}
		for k := range n {
			nums = append(nums, int32(from+k))
		}
	}
	return nums
}

func encodeJob(j *Job) []byte {
	e := &enc{b: []byte{recordVersion}}
	e.s(string(j.Dest.Transport))
	e.s(string(j.Dest.Nexthop))
	e.when(j.Due)
	e.when(j.LastTry)
	e.u(uint64(j.Attempts))
	e.u(uint64(len(j.Waiting)))
	for i := range j.Waiting {
		w := &j.Waiting[i]
		e.s(w.Enhanced)
		e.s(w.Text)
		e.s(w.RemoteMTA)
		e.s(w.DiagnosticType)
		e.s(w.Diagnostic)
		encodeNumbers(e, w.Recipients)
	}
	return e.b
}

func decodeJob(id mail.QueueID, no uint32, b []byte) (*Job, error) {
	if len(b) == 0 || b[0] != recordVersion {
		return nil, errRecord
	}
	d := &dec{b: b[1:]}
	j := &Job{ID: id, No: no}
	j.Dest.Transport = mail.Transport(d.s())
	j.Dest.Nexthop = mail.Nexthop(d.s())
	j.Due = d.when()
	j.LastTry = d.when()
	j.Attempts = int(d.u())
	j.Waiting = make([]Waiting, d.count())
	for i := range j.Waiting {
		w := &j.Waiting[i]
		w.Enhanced, w.Text, w.RemoteMTA, w.DiagnosticType, w.Diagnostic = d.s(), d.s(), d.s(), d.s(), d.s()
		w.Recipients = decodeNumbers(d)
	}
	return j, d.err
}
