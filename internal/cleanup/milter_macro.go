package cleanup

import (
	"strconv"
	"strings"
)

func itoa(n uint16) string { return strconv.Itoa(int(n)) }

// filterMacro is the value of a macro for filters that see the content. smtpd has
// more to say about the commands before it.
func (m *Message) filterMacro(name string) (string, bool) {
	row := filterMacros[name]
	if row == nil {
		return "", false
	}
	return row(m)
}

// filterMacros are the macros that cleanup(8) knows.
var filterMacros = map[string]func(*Message) (string, bool){
	"{daemon_name}": func(m *Message) (string, bool) { return m.s.filters.cfg.DaemonName(), true },
	"{v}":           func(m *Message) (string, bool) { return m.s.filters.cfg.Version(), true },
	"{j}":           func(m *Message) (string, bool) { return m.s.set.Myhostname, true },
	"{i}":           func(m *Message) (string, bool) { return string(m.ID()), true },
	"{_}": func(m *Message) (string, bool) {
		p := m.filterClient()
		text := p.reverse + " [" + p.addrText + "]"
		if !strings.EqualFold(p.name, p.reverse) {
			text += " (may be forged)"
		}
		return text, true
	},
	"{client_addr}": func(m *Message) (string, bool) { return m.filterClient().addrText, true },
	"{client_name}": func(m *Message) (string, bool) { return m.filterClient().name, true },
	"{client_ptr}":  func(m *Message) (string, bool) { return m.filterClient().reverse, true },
	"{client_port}": func(m *Message) (string, bool) { return m.filterClient().port, true },
	"{daemon_addr}": func(m *Message) (string, bool) { return m.filterClient().server, true },
	"{daemon_port}": func(m *Message) (string, bool) { return m.filterClient().serverPort, true },
	"{auth_type}":   func(m *Message) (string, bool) { return given(m.opt.Facts.SASLMethod) },
	"{auth_authen}": func(m *Message) (string, bool) { return given(m.opt.Facts.SASLUser) },
	"{auth_author}": func(m *Message) (string, bool) { return given(m.opt.Facts.SASLSender) },
	"{mail_addr}":   func(m *Message) (string, bool) { return m.filters.sender, m.filters.hasSender },
	"{rcpt_addr}":   func(m *Message) (string, bool) { return m.filters.rcpt, m.filters.hasRcpt },
}

// given is a value that is there unless it is empty.
func given(s string) (string, bool) { return s, s != "" }
