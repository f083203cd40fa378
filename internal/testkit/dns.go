package testkit

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"

	"context"

	"github.com/miekg/dns"
)

// DNS is a scripted name server over UDP and TCP.
type DNS struct {
	// Addr is where it listens, the same port for UDP and TCP.
	Addr string

	zone    atomic.Pointer[Zone]
	udp     *dns.Server
	tcp     *dns.Server
	done    sync.WaitGroup
	ctx     context.Context
	cancel  context.CancelFunc
	mu      sync.Mutex
	queries []string
}

// StartDNS serves the zone literal at addr; "" means a free port of 127.0.0.1.
func StartDNS(addr, zone string) (*DNS, error) {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	pc, l, err := ListenBoth(addr)
	if err != nil {
		return nil, err
	}
	return ServeDNS(pc, l, zone)
}

// ListenBoth opens UDP and TCP on the same port, trying a few when the port is
// free to choose.
func ListenBoth(addr string) (net.PacketConn, net.Listener, error) {
	var last error
	for range 20 {
		pc, err := net.ListenPacket("udp", addr)
		if err != nil {
			return nil, nil, err
		}
		l, err := net.Listen("tcp", pc.LocalAddr().String())
		if err == nil {
			return pc, l, nil
		}
		last = err
		err = pc.Close()
		if err != nil {
			return nil, nil, err
		}
	}
	return nil, nil, last
}

// ServeDNS serves the zone literal on sockets that the caller has opened.
func ServeDNS(pc net.PacketConn, l net.Listener, zone string) (*DNS, error) {
	z, err := ParseZone(zone)
	if err != nil {
		return nil, err
	}
	d := &DNS{Addr: pc.LocalAddr().String()}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	d.zone.Store(z)
	d.udp = &dns.Server{PacketConn: pc, Handler: d.handler(false)}
	d.tcp = &dns.Server{Listener: l, Handler: d.handler(true)}
	var started sync.WaitGroup
	for _, s := range []*dns.Server{d.udp, d.tcp} {
		started.Add(1)
		s.NotifyStartedFunc = started.Done
		d.done.Add(1)
		// goroutine: ends when Close shuts the server down.
		go func() {
			defer d.done.Done()
			_ = s.ActivateAndServe() // its error is the shutdown
		}()
	}
	started.Wait()
	return d, nil
}

// SetZone replaces the zone while the server runs.
func (d *DNS) SetZone(zone string) error {
	z, err := ParseZone(zone)
	if err != nil {
		return err
	}
	d.zone.Store(z)
	return nil
}

// Queries returns the questions seen so far, as "NAME TYPE".
func (d *DNS) Queries() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.queries...)
}

// Close stops the server and waits for it.
func (d *DNS) Close() error {
	d.cancel()
	err := errors.Join(d.udp.Shutdown(), d.tcp.Shutdown())
	d.done.Wait()
	return err
}

// handler answers from the zone.
func (d *DNS) handler(tcp bool) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		if len(q.Question) == 1 {
			d.mu.Lock()
			d.queries = append(d.queries, fmt.Sprintf("%s %s",
				q.Question[0].Name, dns.TypeToString[q.Question[0].Qtype]))
			d.mu.Unlock()
		}
		reply, delay := d.zone.Load().Answer(q, tcp)
		if delay > 0 {
			Pause(d.ctx, delay)
		}
		if reply != nil {
			_ = w.WriteMsg(reply) // a client that went away is its own affair
		}
	}
}
