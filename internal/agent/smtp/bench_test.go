package smtp

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"postroad/internal/agent"
	"postroad/internal/mail"
)

// sink is an SMTP server on loopback that takes everything.
func sink(tb testing.TB) netip.AddrPort {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { l.Close() })
	// goroutine: ends with the listener.
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			// goroutine: ends with its connection.
			go sinkSession(c)
		}
	}()
	return netip.MustParseAddrPort(l.Addr().String())
}

func sinkSession(c net.Conn) {
	defer c.Close()
	in := bufio.NewReaderSize(c, 64<<10)
	out := bufio.NewWriter(c)
	out.WriteString("220 sink ESMTP\r\n")
	body := false
	for {
		if in.Buffered() == 0 {
			out.Flush()
		}
		line, err := in.ReadSlice('\n')
		if err != nil {
			return
		}
		switch {
		case body:
			if string(line) == ".\r\n" {
				body = false
				out.WriteString("250 2.0.0 Ok: queued as SINK\r\n")
			}
		case line[0] == 'E' || line[0] == 'L':
			out.WriteString("250-sink\r\n250-PIPELINING\r\n250-SIZE 10240000\r\n250 8BITMIME\r\n")
		case line[0] == 'D':
			body = true
			out.WriteString("354 go\r\n")
		case line[0] == 'Q':
			out.Flush()
			return
		default:
			out.WriteString("250 2.1.0 ok\r\n")
		}
	}
}

// BenchmarkDeliver4K sends a message of 4 KiB over a warm connection.
func BenchmarkDeliver4K(b *testing.B) { benchDeliver(b, 4<<10, true) }

// BenchmarkDeliver64K is the same with 64 KiB.
func BenchmarkDeliver64K(b *testing.B) { benchDeliver(b, 64<<10, true) }

// BenchmarkDeliverNew4K makes a connection for each message.
func BenchmarkDeliverNew4K(b *testing.B) { benchDeliver(b, 4<<10, false) }

func benchDeliver(b *testing.B, size int, warm bool) {
	w := &world{}
	cfg := Config{Settings: testSettings(), Common: testCommon(), Resolver: w}
	c, err := New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	d := benchDelivery(sink(b), size, warm)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	b.ReportAllocs()
	b.SetBytes(int64(size))
	for b.Loop() {
		if r := c.Deliver(ctx, d); len(r) != 1 || r[0].Outcome != mail.Sent {
			b.Fatalf("%+v", r)
		}
	}
}

func benchDelivery(to netip.AddrPort, size int, warm bool) *agent.Delivery {
	text := "Subject: x\r\n\r\n" + strings.Repeat(strings.Repeat("x", 70)+"\r\n", size/72)
	return &agent.Delivery{
		Envelope: &mail.Envelope{ID: "QID", Sender: "a@c.test", Arrived: time.Now(), Client: mail.ClientFacts{}},
		Route:    mail.Route{Nexthop: mail.Nexthop("[127.0.0.1]:" + to.String()[len("127.0.0.1:"):])}, Content: bytesContent(text),
		Recipients: []mail.Recipient{{Address: "b@example.test"}}, Reuse: agent.Reuse{Load: warm, Store: warm},
	}
}

// bytesContent is content in memory that costs nothing to look at.
type bytesContent []byte

func (c bytesContent) Size() int64   { return int64(len(c)) }
func (c bytesContent) Bytes() []byte { return c }
func (c bytesContent) Open() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(c)), nil
}
