package cleanup

import "postroad/internal/event"

// lateBytes is the content after which cleanup(8) has seen the beginning of a
// message for sure: smtpd(8) hands it over in pieces of this size. What smtpd
// logs about a shorter message comes before what cleanup logs.
const lateBytes = 4096

// lateLog holds lines back until smtpd has had its say.
type lateLog struct {
	held  []event.Event
	first [2]event.Event
	open  bool
}

// emit writes a log line as cleanup(8), now or when the content is complete.
func (m *Message) emit(e event.Event) {
	switch {
	case m.log.open:
		m.s.deps.Log.Emit(e)
	case m.log.held == nil:
		m.log.held = append(m.log.first[:0], e)
	default:
		m.log.held = append(m.log.held, e)
	}
}

// speak writes what was held back and holds nothing back any more.
func (m *Message) speak() {
	if m.log.open {
		return
	}
	m.log.open = true
	for _, e := range m.log.held {
		m.s.deps.Log.Emit(e)
	}
	m.log.held = nil
}
