package testkit

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Milter is a mail filter that does what a script says and writes down what it is
// told. It knows the protocol and nothing of Postroad's side of it.
type Milter struct {
	// Script says what it answers. It is not changed while there are sessions.
	Script MilterScript

	mu       sync.Mutex
	sessions int
	log      []string
	conns    map[net.Conn]struct{}
	l        net.Listener
	wg       sync.WaitGroup
}

// MilterScript says how a Milter behaves.
type MilterScript struct {
	// Version, Actions and Events are its part of the negotiation; a Version of 0
	// takes the version and the actions that are offered.
	Version, Actions, Events uint32
	// Macros are the lists of macros that it wants, by stage.
	Macros []MilterMacros
	// Answers are by event ("connect", "helo", "mail", "rcpt", "data", "unknown",
	// "header", "eoh", "body", "eom", "negotiate"), perhaps with a blank and the
	// beginning of what it is about ("rcpt <bad@"). What is missing is "continue".
	// The words are those of milterWords; several lines are several packets.
	Answers map[string]string
}

// MilterMacros is a list of macros for a stage of the protocol (SMFIM_*).
type MilterMacros struct {
	Stage uint32
	Names string
}

// milterEvents name the commands of the protocol.
var milterEvents = map[byte]string{
	'A': "abort", 'B': "body", 'C': "connect", 'E': "eom", 'H': "helo", 'L': "header", 'M': "mail", 'N': "eoh",
	'O': "negotiate", 'Q': "quit", 'R': "rcpt", 'T': "data", 'U': "unknown",
}

// milterWords are the words of a script that are packets: the code, and whether
// text follows it as a string, as bare text, or in parts.
var milterWords = map[string]struct {
	code byte
	form string
}{
	"accept": {'a', ""}, "continue": {'c', ""}, "discard": {'d', ""}, "progress": {'p', ""}, "reject": {'r', ""}, "skip": {'s', ""},
	"tempfail": {'t', ""}, "shutdown": {'4', ""}, "connfail": {'f', ""},
	"reply": {'y', "string"}, "quarantine": {'q', "string"}, "replacebody": {'b', "bare"},
	"addheader": {'h', "field"}, "insertheader": {'i', "place"}, "changeheader": {'m', "place"},
	"changefrom": {'e', "args"}, "addrcpt": {'+', "string"}, "addrcptargs": {'2', "args"}, "delrcpt": {'-', "string"},
}

// StartMilter listens on an address of network "tcp" or "unix".
func StartMilter(network, address string, script MilterScript) (*Milter, error) {
	l, err := net.Listen(network, address)
	if err != nil {
		return nil, err
	}
	m := &Milter{Script: script, l: l}
	// goroutine: takes connections; ends with Close.
	m.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			// goroutine: one session; ends with its connection.
			m.wg.Go(func() { m.Serve(conn) })
		}
	})
	return m, nil
}

// Addr is where it listens, as smtpd_milters has it.
func (m *Milter) Addr() string {
	if m.l.Addr().Network() == "unix" {
		return "unix:" + m.l.Addr().String()
	}
	return "inet:" + m.l.Addr().String()
}

// Close ends it. Sessions have a moment to end by themselves, so that what was sent
// to them is in the log.
func (m *Milter) Close() error {
	err := m.l.Close()
	cut := time.AfterFunc(2*time.Second, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		for c := range m.conns {
			_ = c.Close()
		}
	})
	m.wg.Wait()
	cut.Stop()
	return err
}

// Log is what it was told so far, one line for each command: the number of the
// session, the command, and the macros that came with it.
func (m *Milter) Log() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.log...)
}

// Forget empties the log.
func (m *Milter) Forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.log, m.sessions = nil, 0
}

func (m *Milter) note(session int, format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.log = append(m.log, strconv.Itoa(session)+" "+fmt.Sprintf(format, args...))
}

// Serve is one session.
func (m *Milter) Serve(conn net.Conn) {
	m.mu.Lock()
	m.sessions++
	n := m.sessions
	if m.conns == nil {
		m.conns = map[net.Conn]struct{}{}
	}
	m.conns[conn] = struct{}{}
	m.mu.Unlock()
	defer func() {
		_ = conn.Close()
		m.mu.Lock()
		delete(m.conns, conn)
		m.mu.Unlock()
	}()
	s := milterSession{m: m, n: n, conn: conn, r: bufio.NewReader(conn), macros: map[byte]string{}}
	for s.step() {
	}
}

// milterSession is one connection.
type milterSession struct {
	m    *Milter
	n    int
	conn net.Conn
	r    *bufio.Reader
	// macros are those that came for the next command.
	macros map[byte]string
	events uint32
}

// step serves one packet.
func (s *milterSession) step() bool {
	var head [4]byte
	if _, err := io.ReadFull(s.r, head[:]); err != nil {
		if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.ErrClosedPipe) {
			s.m.note(s.n, "lost: %v", err)
		}
		return false
	}
	data := make([]byte, binary.BigEndian.Uint32(head[:]))
	if _, err := io.ReadFull(s.r, data); err != nil || len(data) == 0 {
		s.m.note(s.n, "cut off")
		return false
	}
	cmd, data := data[0], data[1:]
	if cmd == 'D' {
		s.macros[data[0]] = milterPairs(data[1:])
		return true
	}
	event := milterEvents[cmd]
	if event == "" {
		s.m.note(s.n, "unknown packet %q", cmd)
		return false
	}
	about := milterText(cmd, data)
	line := strings.TrimSpace(event + " " + about)
	for _, of := range []byte("CHMRTNLBEU") {
		if macros, ok := s.macros[of]; ok {
			line += " | " + string(of) + ": " + macros
		}
	}
	clear(s.macros)
	s.m.note(s.n, "%s", line)
	switch cmd {
	case 'O':
		return s.negotiate(data)
	case 'A':
		return true
	case 'Q':
		return false
	}
	return s.answer(cmd, event, about)
}

// milterNoReply are the bits by which a filter does not answer an event.
var milterNoReply = map[byte]uint32{
	'C': 1 << 12, 'H': 1 << 13, 'M': 1 << 14, 'R': 1 << 15, 'T': 1 << 16, 'U': 1 << 17, 'N': 1 << 18, 'B': 1 << 19, 'L': 1 << 7,
}

func (s *milterSession) answer(cmd byte, event, about string) bool {
	if s.events&milterNoReply[cmd] != 0 {
		return true
	}
	script, best := "continue", -1
	for key, value := range s.m.Script.Answers {
		name, rest, _ := strings.Cut(key, " ")
		if name == event && strings.HasPrefix(about, rest) && len(rest) > best {
			script, best = value, len(rest)
		}
	}
	return s.play(script)
}

// play writes the packets of an answer.
func (s *milterSession) play(script string) bool {
	for line := range strings.SplitSeq(script, "\n") {
		word, rest, _ := strings.Cut(line, " ")
		rest = strings.NewReplacer(`\r`, "\r", `\n`, "\n", `\0`, "\x00", `\\`, `\`).Replace(rest)
		switch word {
		case "close":
			return false
		case "hang":
			_, _ = io.Copy(io.Discard, s.conn) // until the other side gives up
			return false
		case "garbage":
			_, _ = s.conn.Write([]byte("HTTP/1.0 200 OK\r\n\r\nnot a mail filter"))
			continue
		case "raw":
			if _, err := s.conn.Write([]byte(rest)); err != nil {
				return false
			}
			continue
		}
		row, ok := milterWords[word]
		if !ok {
			s.m.note(s.n, "no such word in the script: %s", line)
			return false
		}
		if _, err := s.conn.Write(milterPacket(row.code, row.form, rest)); err != nil {
			return false
		}
	}
	return true
}

// milterPacket makes a packet of a word of a script.
func milterPacket(code byte, form, rest string) []byte {
	var data []byte
	number := func() {
		word, tail, _ := strings.Cut(rest, " ")
		n, _ := strconv.Atoi(word)
		data, rest = binary.BigEndian.AppendUint32(data, uint32(int32(n))), tail
	}
	str := func(s string) { data = append(append(data, s...), 0) }
	switch form {
	case "string":
		str(rest)
	case "bare":
		data = append(data, rest...)
	case "place":
		number()
		fallthrough
	case "field":
		name, value, _ := strings.Cut(rest, ":")
		str(name)
		str(strings.TrimPrefix(value, " "))
	case "args":
		addr, args, has := strings.Cut(rest, " ")
		if str(addr); has {
			str(args)
		}
	}
	out := binary.BigEndian.AppendUint32(nil, uint32(1+len(data)))
	return append(append(out, code), data...)
}

// negotiate answers the offer of the server.
func (s *milterSession) negotiate(data []byte) bool {
	script := &s.m.Script
	if answer := script.Answers["negotiate"]; answer != "" {
		return s.play(answer)
	}
	version, actions := script.Version, script.Actions
	if version == 0 && len(data) >= 12 {
		version, actions = binary.BigEndian.Uint32(data), binary.BigEndian.Uint32(data[4:])
	}
	s.events = script.Events
	out := []byte{0, 0, 0, 0, 'O'}
	for _, n := range []uint32{version, actions, script.Events} {
		out = binary.BigEndian.AppendUint32(out, n)
	}
	for _, list := range script.Macros {
		out = append(append(binary.BigEndian.AppendUint32(out, list.Stage), list.Names...), 0)
	}
	binary.BigEndian.PutUint32(out, uint32(len(out)-4))
	_, err := s.conn.Write(out)
	return err == nil
}

// milterPairs shows names and values of macros.
func milterPairs(data []byte) string {
	parts := strings.Split(strings.TrimSuffix(string(data), "\x00"), "\x00")
	var out []string
	for i := 0; i+1 < len(parts); i += 2 {
		out = append(out, parts[i]+"="+parts[i+1])
	}
	return strings.Join(out, " ")
}

// milterText shows what a command is about.
func milterText(cmd byte, data []byte) string {
	switch cmd {
	case 'O':
		if len(data) >= 12 {
			return fmt.Sprintf("version %d actions %#x events %#x", binary.BigEndian.Uint32(data),
				binary.BigEndian.Uint32(data[4:]), binary.BigEndian.Uint32(data[8:]))
		}
	case 'C':
		name, rest, _ := strings.Cut(string(data), "\x00")
		if len(rest) >= 4 {
			return fmt.Sprintf("%s %c %d %s", name, rest[0], binary.BigEndian.Uint16([]byte(rest[1:3])), strings.TrimSuffix(rest[3:], "\x00"))
		}
		return name + " " + rest
	case 'B':
		if len(data) > 200 {
			return fmt.Sprintf("%d bytes", len(data))
		}
		return strconv.Quote(string(data))
	case 'L':
		name, value, _ := strings.Cut(strings.TrimSuffix(string(data), "\x00"), "\x00")
		return name + ": " + strconv.Quote(value)
	}
	return strings.ReplaceAll(strings.TrimSuffix(string(data), "\x00"), "\x00", " ")
}
