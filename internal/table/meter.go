package table

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
)

// maxReceived bounds what a server may send in one lookup, so that a mad one cannot
// fill our memory while the clock of the lookup runs.
const maxReceived = 2 * maxAnswer

// errFlood is the cause when a server sent too much.
var errFlood = errors.New("the server sent too much")

// meter is a connection with a bound on the bytes that come in.
type meter struct {
	net.Conn
	left atomic.Int64
}

// Read implements net.Conn.
func (m *meter) Read(b []byte) (int, error) {
	left := m.left.Load()
	if left <= 0 {
		return 0, errFlood
	}
	if int64(len(b)) > left {
		b = b[:left]
	}
	n, err := m.Conn.Read(b)
	m.left.Add(-int64(n))
	return n, err
}

// renew gives the connection the bound of one more lookup.
func (m *meter) renew() { m.left.Store(maxReceived) }

// meterBox holds the connection that a driver made last. A driver may dial once more
// behind our back, to take back a query.
type meterBox struct{ atomic.Pointer[meter] }

// renew gives the connection in the box the bound of one more lookup.
func (b *meterBox) renew() {
	if m := b.Load(); m != nil {
		m.renew()
	}
}

// dialInto returns a dial function that leaves the connection in a box. Multipath TCP
// is off: it only brings trouble with sandboxes and firewalls.
func dialInto(box *meterBox) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		var d net.Dialer
		d.SetMultipathTCP(false)
		conn, err := d.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		m := &meter{Conn: conn}
		m.renew()
		box.Store(m)
		return m, nil
	}
}

// dialled is deferred by a function that connects: a panic of the driver becomes an
// error, and after an error nothing stays open.
func dialled(box *meterBox, err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("%w: %v", errNonsense, r)
	}
	if m := box.Load(); *err != nil && m != nil {
		m.Close()
	}
}
