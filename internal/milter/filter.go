package milter

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"postroad/internal/event"
	"postroad/internal/sys"
)

// state is where a filter stands.
type state uint8

const (
	// stateClosed is before the connection and after its end.
	stateClosed state = iota
	// stateFailed is after an error; the persistent reply is the default action.
	stateFailed
	stateReady
	stateEnvelope
	stateMessage
	// stateAcceptConn and stateRejectConn hold for the rest of the session,
	// stateAcceptMsg until the end of the message.
	stateAcceptConn
	stateAcceptMsg
	stateRejectConn
)

// filter is the connection to one filter during one SMTP session.
type filter struct {
	ctx context.Context
	cfg *Config
	log *event.Logger
	svc *service

	conn  net.Conn
	r     *bufio.Reader
	w     *bufio.Writer
	unarm func() bool
	state state
	// standing is the answer to every further event, nil for none.
	standing *Reply
	// skipped is the event that the filter does not want to see again for now.
	skipped byte
	// events are what the filter said about events; foreign are those that its
	// version does not have.
	events, foreign uint32
	// macros are the lists that the filter asked for.
	macros macroLists
	// opened tells that the filter saw the MAIL of this transaction.
	opened bool
	// patience is the time limit of one exchange.
	patience time.Duration
	buf      []byte
}

const ioBuffer = 4 << 10

// fail takes a failure of the filter: the connection ends and the default action
// answers from now on.
func (f *filter) fail(format string, args ...any) {
	f.log.Warnf("milter %s: %s", f.svc.name, fmt.Sprintf(format, args...))
	f.broken()
}

// broken makes the default action the standing answer.
func (f *filter) broken() { f.stand(f.svc.action, false) }

// misled is broken for a request or a setting that makes no sense.
func (f *filter) misled() { f.stand(f.svc.action, true) }

// actions are the words of milter_default_action and the replies for a failure
// and for an error of configuration; both nil is to go on without the filter.
var actions = map[string]struct{ failure, config *Reply }{
	"accept":     {nil, nil},
	"reject":     {refuse(textUnavailable), refuse(textConfig)},
	"tempfail":   {refuse(textTempfail), refuse(textConfig)},
	"shutdown":   {refuse(textShutdown), refuse(textConfigEnd)},
	"quarantine": {&Reply{Quarantine, reasonDefault}, &Reply{Quarantine, reasonDefault}},
}

func (f *filter) stand(action string, config bool) {
	f.disconnect()
	f.state = stateFailed
	row, ok := actions[strings.ToLower(action)]
	switch {
	case !ok:
		f.log.Warnf("milter %s: unrecognized default action: %s", f.svc.name, action)
		f.standing = refuse(textConfig)
	case config:
		f.standing = row.config
	default:
		f.standing = row.failure
	}
}

// disconnect closes the connection.
func (f *filter) disconnect() {
	if f.conn == nil {
		return
	}
	f.unarm()
	_ = f.conn.Close() // the filter sees the end in any case
	f.conn, f.r, f.w, f.buf = nil, nil, nil, nil
}

// open connects and negotiates. What goes wrong is in the state.
func (f *filter) open() {
	if f.svc.lost {
		f.broken()
		return
	}
	version, offered, bad := parseProtocol(f.svc.protocol)
	switch {
	case bad != "":
		f.log.Warnf("milter %s: bad protocol information: %s", f.svc.name, bad)
		f.misled()
		return
	case version == 0:
		f.log.Warnf("milter %s: no protocol version information", f.svc.name)
		f.misled()
		return
	}
	network, address, ok := f.endpoint()
	if !ok {
		f.misled()
		return
	}
	ctx, cancel := context.WithTimeout(f.ctx, f.svc.connect)
	conn, err := f.cfg.dial(ctx, network, address)
	cancel()
	if err != nil {
		f.log.Warnf("connect to Milter service %s: %s", f.svc.name, reason(err))
		f.broken()
		return
	}
	f.conn, f.r, f.w = conn, bufio.NewReaderSize(conn, ioBuffer), bufio.NewWriterSize(conn, ioBuffer)
	f.unarm = context.AfterFunc(f.ctx, func() { _ = conn.Close() })
	f.patience = f.svc.command
	f.foreign = optionalEvents &^ offered
	f.negotiate(version, offered)
}

// endpoint takes the name of the service apart.
func (f *filter) endpoint() (network, address string, ok bool) {
	transport, endpoint, _ := strings.Cut(f.svc.name, ":")
	if transport == "" || endpoint == "" {
		f.log.Warnf("Milter service needs transport:endpoint instead of \"%s\"", f.svc.name)
		return "", "", false
	}
	switch transport {
	case "inet":
		return "tcp", endpoint, true
	case "unix", "local":
		if !strings.HasPrefix(endpoint, "/") {
			endpoint = f.cfg.set.QueueDir + "/" + endpoint
		}
		return "unix", endpoint, true
	}
	f.log.Warnf("invalid transport name: %s in Milter service: %s", transport, f.svc.name)
	return "", "", false
}

// negotiate agrees on version, actions and events.
func (f *filter) negotiate(version, offered uint32) {
	var hello [12]byte
	binary.BigEndian.PutUint32(hello[0:], version)
	binary.BigEndian.PutUint32(hello[4:], allActions)
	binary.BigEndian.PutUint32(hello[8:], offered)
	if !f.send(cmdNegotiate, hello[:]) {
		f.log.Warnf("milter %s: write error in initial handshake", f.svc.name)
		return
	}
	cmd, data, ok := f.receive(cmdNegotiate)
	if !ok {
		f.log.Warnf("milter %s: read error in initial handshake", f.svc.name)
		return
	}
	if cmd != cmdNegotiate {
		f.fail("unexpected reply %q in initial handshake", string(rune(cmd)))
		return
	}
	in := fields{rest: data}
	theirs, wanted, events := in.number(), in.number(), in.number()
	switch {
	case in.err != nil:
		f.fail("%v", in.err)
		f.log.Warnf("milter %s: read error in initial handshake", f.svc.name)
		return
	case theirs > version:
		f.fail("protocol version %d conflict with MTA protocol version %d", theirs, version)
		return
	case wanted&allActions != wanted:
		f.fail("request mask 0x%x conflict with MTA request mask 0x%x", wanted, allActions)
		return
	}
	f.events = events
	if theirs < version {
		if theirs < versions[len(versions)-1].number {
			f.log.Warnf("milter %s: unexpected protocol version %d", f.svc.name, theirs)
		}
		f.foreign |= unknownTo(theirs)
	}
	f.wantMacros(&in)
	if f.state != stateFailed {
		f.state, f.standing, f.skipped = stateReady, nil, 0
	}
}

// wantMacros reads the lists of macros that the filter wants instead of ours.
func (f *filter) wantMacros(in *fields) {
	for len(in.rest) > 0 {
		stage, names := in.number(), in.text()
		if in.err != nil {
			f.fail("%v", in.err)
			return
		}
		if stage > uint32(stageEndOfHeader) {
			f.log.Warnf("milter %s: ignoring unknown macro type %d", f.svc.name, stage)
			continue
		}
		f.macros[stage] = splitNames(names)
	}
}

// send writes a packet into the buffer.
func (f *filter) send(cmd byte, parts ...[]byte) bool {
	size := 1
	for _, p := range parts {
		size += len(p)
	}
	var head [5]byte
	binary.BigEndian.PutUint32(head[:], uint32(size))
	head[4] = cmd
	_ = f.conn.SetWriteDeadline(time.Now().Add(f.patience)) // a closed one fails at the write
	_, err := f.w.Write(head[:])
	for _, p := range parts {
		if err != nil {
			break
		}
		_, err = f.w.Write(p)
	}
	if err != nil {
		f.fail("error writing command: %s", reason(err))
	}
	return err == nil
}

// receive flushes what was written and reads a packet. The data is valid until
// the next call.
func (f *filter) receive(event byte) (cmd byte, data []byte, ok bool) {
	name := nameOf(commandNames, event, "(unknown MTA event)")
	_ = f.conn.SetDeadline(time.Now().Add(f.patience)) // a closed one fails at the write
	if err := f.w.Flush(); err != nil {
		f.fail("error writing command: %s", reason(err))
		return 0, nil, false
	}
	var head [5]byte
	if _, err := io.ReadFull(f.r, head[:4]); err != nil {
		f.fail("can't read %s reply packet header: %s", name, reason(err))
		return 0, nil, false
	}
	size := int64(binary.BigEndian.Uint32(head[:]))
	switch {
	case size < 1:
		f.fail("bad packet length: %d", size)
		return 0, nil, false
	case size > maxPacket:
		f.fail("unreasonable packet length: %d > %d", size, maxPacket)
		return 0, nil, false
	}
	var err error
	if head[4], err = f.r.ReadByte(); err != nil {
		f.fail("EOF while reading command code: %s", reason(err))
		return 0, nil, false
	}
	if f.buf, err = readGrowing(f.r, f.buf[:0], int(size-1)); err != nil {
		f.fail("EOF while reading data: %s", reason(err))
		return 0, nil, false
	}
	return head[4], f.buf, true
}

// readGrowing reads n bytes. Memory grows with what arrives, not with what was
// announced.
func readGrowing(r io.Reader, buf []byte, n int) ([]byte, error) {
	for n > 0 {
		step := min(n, 64<<10)
		start := len(buf)
		if cap(buf)-start < step {
			buf = append(buf, make([]byte, step)...)
		}
		buf = buf[:start+step]
		if _, err := io.ReadFull(r, buf[start:]); err != nil {
			return buf[:start], err
		}
		n -= step
	}
	return buf, nil
}

// reason words an error; for the end of a stream Postfix has no word of the system.
func reason(err error) string {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "Application error"
	}
	return sys.Reason(err)
}
