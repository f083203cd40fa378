package cleanup

// walker knows in which part of a message a line stands. MIME parts below the
// primary header count as body.
type walker struct {
	state bodyState
}

// bodyState is where the next line stands.
type bodyState uint8

const (
	inPrimary bodyState = iota
	inBody
)

func (w *walker) inHeader() bool { return w.state == inPrimary }

// needed tells whether anybody wants to see the lines of the body.
func (w *walker) needed(m *Message) bool {
	return m.filtered && !m.s.bodyChecks.Empty() && m.bodySeen < m.s.set.BodyCheckSize
}
