package privdeliver

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"time"
)

// A message on the socket is a frame: its length in four bytes, then fields. A
// question with content is followed by Size bytes of it. The fields are written
// by hand because there is one question and one answer per delivery, and because
// the other end may be in the hands of the user.
type question struct {
	ID      uint64
	Request Request
	Content bool
}

type answer struct {
	ID     uint64
	Result Result
}

// maxFrame bounds a frame, maxItems the strings of a list in it.
const (
	maxFrame = 1 << 20
	maxItems = 10000
)

var (
	errFrame = errors.New("privdeliver: frame too long")
	errField = errors.New("privdeliver: malformed frame")
)

// packer builds a frame.
type packer struct{ b []byte }

func (p *packer) num(n int64)          { p.b = binary.AppendVarint(p.b, n) }
func (p *packer) flag(v bool)          { p.num(map[bool]int64{true: 1}[v]) }
func (p *packer) text(s string)        { p.num(int64(len(s))); p.b = append(p.b, s...) }
func (p *packer) list(l []string)      { p.num(int64(len(l))); p.texts(l) }
func (p *packer) span(d time.Duration) { p.num(int64(d)) }

func (p *packer) texts(l []string) {
	for _, s := range l {
		p.text(s)
	}
}

// seal puts the length in front; b began with room for it.
func (p *packer) seal(start int) error {
	n := len(p.b) - start - 4
	if n > maxFrame {
		return errFrame
	}
	binary.BigEndian.PutUint32(p.b[start:], uint32(n))
	return nil
}

// appendQuestion adds the frame of a question to b.
func appendQuestion(b []byte, q *question) ([]byte, error) {
	p := packer{append(b, 0, 0, 0, 0)}
	r := &q.Request
	p.num(int64(q.ID))
	p.flag(q.Content)
	p.num(int64(r.Kind))
	p.text(r.Path)
	p.text(r.Name)
	p.flag(r.Again)
	p.text(string(r.Prefix))
	p.text(r.From)
	p.num(r.Limit)
	p.list(r.Locks)
	p.num(int64(r.Attempts))
	p.span(r.Delay)
	p.span(r.Stale)
	p.list(r.Argv)
	p.list(r.Env)
	p.text(r.Dir)
	p.span(r.Timeout)
	p.num(r.Size)
	p.num(int64(r.Owner))
	p.num(int64(r.Group))
	p.flag(r.Named)
	p.text(r.Form.EOL)
	p.flag(r.Form.From)
	p.flag(r.Form.Dot)
	p.flag(r.Form.Blank)
	return p.b, p.seal(len(b))
}

// appendAnswer adds the frame of an answer to b.
func appendAnswer(b []byte, a *answer) ([]byte, error) {
	p := packer{append(b, 0, 0, 0, 0)}
	p.num(int64(a.ID))
	p.num(int64(a.Result.Class))
	p.text(a.Result.Text)
	p.text(string(a.Result.Output))
	p.num(int64(a.Result.Exit))
	p.flag(a.Result.Unsynced)
	p.num(int64(a.Result.Device))
	p.text(a.Result.Code)
	p.text(a.Result.Warning)
	p.num(int64(a.Result.UID))
	return p.b, p.seal(len(b))
}

// unpacker takes a frame apart; after a mistake everything is zero.
type unpacker struct {
	b   []byte
	bad bool
}

func (u *unpacker) num() int64 {
	n, used := binary.Varint(u.b)
	if used <= 0 {
		u.bad, u.b = true, nil
		return 0
	}
	u.b = u.b[used:]
	return n
}

func (u *unpacker) flag() bool          { return u.num() != 0 }
func (u *unpacker) span() time.Duration { return time.Duration(u.num()) }

func (u *unpacker) int() int {
	n := u.num()
	if n < math.MinInt32 || n > math.MaxInt32 {
		u.bad = true
		return 0
	}
	return int(n)
}

func (u *unpacker) bytes() []byte {
	n := u.num()
	if n < 0 || n > int64(len(u.b)) {
		u.bad, u.b = true, nil
		return nil
	}
	out := u.b[:n:n]
	u.b = u.b[n:]
	return out
}

func (u *unpacker) text() string { return string(u.bytes()) }

func (u *unpacker) list() []string {
	n := u.num()
	if n < 0 || n > maxItems || n > int64(len(u.b)) {
		u.bad = true
		return nil
	}
	var out []string
	for range n {
		out = append(out, u.text())
	}
	return out
}

// readFrame reads the fields of one frame.
func readFrame(r *bufio.Reader) (*unpacker, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxFrame {
		return nil, errFrame
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, errField
	}
	return &unpacker{b: body}, nil
}

func readQuestion(in *bufio.Reader) (q question, err error) {
	u, err := readFrame(in)
	if err != nil {
		return q, err
	}
	r := &q.Request
	q.ID = uint64(u.num())
	q.Content = u.flag()
	r.Kind = Kind(u.int())
	r.Path = u.text()
	r.Name = u.text()
	r.Again = u.flag()
	r.Prefix = u.bytes()
	r.From = u.text()
	r.Limit = u.num()
	r.Locks = u.list()
	r.Attempts = u.int()
	r.Delay = u.span()
	r.Stale = u.span()
	r.Argv = u.list()
	r.Env = u.list()
	r.Dir = u.text()
	r.Timeout = u.span()
	r.Size = u.num()
	r.Owner = u.int()
	r.Group = u.int()
	r.Named = u.flag()
	r.Form = Form{EOL: u.text(), From: u.flag(), Dot: u.flag(), Blank: u.flag()}
	if u.bad || r.Size < 0 {
		return q, errField
	}
	return q, nil
}

func readAnswer(in *bufio.Reader) (a answer, err error) {
	u, err := readFrame(in)
	if err != nil {
		return a, err
	}
	a.ID = uint64(u.num())
	a.Result.Class = Class(u.int())
	a.Result.Text = u.text()
	a.Result.Output = u.bytes()
	a.Result.Exit = u.int()
	a.Result.Unsynced = u.flag()
	a.Result.Device = uint64(u.num())
	a.Result.Code = u.text()
	a.Result.Warning = u.text()
	a.Result.UID = u.int()
	if u.bad {
		return a, errField
	}
	return a, nil
}
