package master

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// The channel is a SOCK_SEQPACKET socket pair: a packet is one message in JSON
// and the descriptors that go with it. Either side may ask; the answer carries
// the number of the question.

// kind is what a message of the channel is about.
type kind string

const (
	// kindStart gives the worker its first generation, kindReload the next.
	kindStart  kind = "start"
	kindReload kind = "reload"
	// kindSockets carries sockets that did not fit into the message before it.
	kindSockets kind = "sockets"
	// kindReady says that the worker serves, kindFailed why it does not.
	kindReady  kind = "ready"
	kindFailed kind = "failed"
	// kindOpen asks master for a file, kindLog for the log file.
	kindOpen kind = "open"
	kindLog  kind = "log"
	// kindUser asks master for a process with the rights of a user.
	kindUser kind = "user"
	// kindAskReload asks master to reload, kindStop to stop everything.
	kindAskReload kind = "ask-reload"
	kindStop      kind = "stop"
	// kindAnswer answers the message with the same ID.
	kindAnswer kind = "answer"
)

// packet is one message.
type packet struct {
	Kind kind
	// ID numbers questions; 0 asks for no answer.
	ID uint64 `json:",omitempty"`
	// Dir is the configuration directory, Keys name the sockets that come along.
	Dir  string   `json:",omitempty"`
	Keys []string `json:",omitempty"`
	Path string   `json:",omitempty"`
	// UID and GID are for kindUser.
	UID int `json:",omitempty"`
	GID int `json:",omitempty"`
	// Error is the text of a failure.
	Error string `json:",omitempty"`

	files []*os.File
}

// Limits of a packet: the kernel takes at most 253 descriptors.
const (
	maxPacket     = 64 << 10
	maxPacketFDs  = 200
	maxPacketKeys = 200
)

// channel is one end.
type channel struct {
	conn *net.UnixConn

	mu      sync.Mutex
	last    uint64
	waiting map[uint64]chan *packet
	closed  bool
}

// newChannel wraps an inherited or created end of the socket pair.
func newChannel(f *os.File) (*channel, error) {
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	uc, ok := conn.(*net.UnixConn)
	if !ok {
		conn.Close()
		return nil, errors.New("the channel is not a unix socket")
	}
	return &channel{conn: uc, waiting: map[uint64]chan *packet{}}, nil
}

// channelPair makes a channel: our end, and the file for the child.
func channelPair() (*channel, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "master"), os.NewFile(uintptr(fds[1]), "worker")
	c, err := newChannel(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return c, theirs, nil
}

// send sends one packet with its files; the caller keeps the files.
func (c *channel) send(p *packet) error {
	body, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if len(body) > maxPacket || len(p.files) > maxPacketFDs {
		return fmt.Errorf("channel: message of %d bytes and %d files is too long", len(body), len(p.files))
	}
	var fds []int
	for _, f := range p.files {
		// SyscallConn, not Fd: Fd would make a shared socket blocking.
		raw, err := f.SyscallConn()
		if err != nil {
			return err
		}
		if err := raw.Control(func(fd uintptr) { fds = append(fds, int(fd)) }); err != nil {
			return err
		}
	}
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _, err = c.conn.WriteMsgUnix(body, oob, nil)
	return err
}

// receive reads one packet.
func (c *channel) receive() (*packet, error) {
	buf := make([]byte, maxPacket)
	oob := make([]byte, unix.CmsgSpace(4*(maxPacketFDs+53)))
	n, oobn, flags, _, err := c.conn.ReadMsgUnix(buf, oob)
	if err != nil {
		return nil, err
	}
	if n == 0 && oobn == 0 {
		return nil, io.EOF
	}
	files, err := rights(oob[:oobn])
	if err == nil && flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		err = errors.New("channel: message cut short")
	}
	p := new(packet)
	if err == nil {
		err = json.Unmarshal(buf[:n], p)
	}
	if err != nil {
		closeFiles(files)
		return nil, err
	}
	p.files = files
	return p, nil
}

// rights makes files of the descriptors in a control message.
func rights(oob []byte) ([]*os.File, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	var files []*os.File
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			continue
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "received"))
		}
	}
	return files, nil
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// ask sends a question and waits for the answer, or for the end of ctx.
func (c *channel) ask(ctx context.Context, p *packet) (*packet, error) {
	answer := make(chan *packet, 1)
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil, io.ErrClosedPipe
	}
	c.last++
	p.ID = c.last
	c.waiting[p.ID] = answer
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.waiting, p.ID)
		c.mu.Unlock()
	}()
	if err := c.send(p); err != nil {
		return nil, err
	}
	select {
	case a, ok := <-answer:
		if !ok {
			return nil, io.ErrClosedPipe
		}
		if a.Error != "" {
			closeFiles(a.files)
			return nil, errors.New(a.Error)
		}
		return a, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// serve reads until the channel ends and gives every packet that is no answer
// to handle, in order.
func (c *channel) serve(handle func(*packet)) error {
	for {
		p, err := c.receive()
		if err != nil {
			c.mu.Lock()
			c.closed = true
			for id, w := range c.waiting {
				close(w)
				delete(c.waiting, id)
			}
			c.mu.Unlock()
			return err
		}
		if p.Kind != kindAnswer {
			handle(p)
			continue
		}
		c.mu.Lock()
		w := c.waiting[p.ID]
		delete(c.waiting, p.ID)
		c.mu.Unlock()
		if w == nil {
			closeFiles(p.files)
			continue
		}
		w <- p
	}
}

// answer answers a question.
func (c *channel) answer(to *packet, err error, files ...*os.File) error {
	if to.ID == 0 {
		return nil
	}
	a := &packet{Kind: kindAnswer, ID: to.ID, files: files}
	if err != nil {
		a.Error = err.Error()
		if a.Error == "" {
			a.Error = "unknown error"
		}
	}
	return c.send(a)
}

// sendSockets sends sockets ahead of the message that needs them all.
func (c *channel) sendSockets(set sockets) error {
	p := &packet{Kind: kindSockets}
	for key, f := range set {
		p.Keys, p.files = append(p.Keys, key), append(p.files, f)
		if len(p.Keys) == maxPacketKeys {
			if err := c.send(p); err != nil {
				return err
			}
			p = &packet{Kind: kindSockets}
		}
	}
	if len(p.Keys) == 0 {
		return nil
	}
	return c.send(p)
}

func (c *channel) close() { c.conn.Close() }
