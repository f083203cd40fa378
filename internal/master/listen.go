package master

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"postroad/internal/postconf"
	"postroad/internal/sys"
	"postroad/internal/wire"
)

// endpoint is one address that an inet service listens on.
type endpoint struct {
	service *postconf.Service
	// network is tcp4 or tcp6, addr what to bind.
	network string
	addr    netip.AddrPort
	// window is tcp_windowsize, 0 for what the system thinks best.
	window int
}

// key names an endpoint across generations and processes.
func (e endpoint) key() string { return e.service.Name + " " + e.network + " " + e.addr.String() }

// endpoints lists the addresses of all inet services that run and that serves
// accepts.
func endpoints(cfg *postconf.Config, serves func(*postconf.Service) bool) ([]endpoint, error) {
	var all []endpoint
	seen := map[string]bool{}
	for _, svc := range cfg.Active() {
		if svc.Type != "inet" || !serves(svc) {
			continue
		}
		list, err := serviceEndpoints(cfg, svc)
		if err != nil {
			return nil, err
		}
		for _, e := range list {
			if !seen[e.key()] {
				seen[e.key()] = true
				all = append(all, e)
			}
		}
	}
	return all, nil
}

// serviceEndpoints resolves the first column of an inet service.
func serviceEndpoints(cfg *postconf.Config, svc *postconf.Service) ([]endpoint, error) {
	var s Settings
	if err := firstFatal(cfg.View(svc).Decode(&s)); err != nil {
		return nil, err
	}
	host, port, err := svc.HostPort()
	if err != nil {
		return nil, fmt.Errorf("%v: %w", svc.Origin, err)
	}
	n, err := portNumber(port)
	if err != nil {
		return nil, fmt.Errorf("%v: unknown service: %s/tcp", svc.Origin, port)
	}
	hosts := s.InetInterfaces
	if host != "" {
		hosts = []string{host}
	}
	var all []endpoint
	for _, h := range hosts {
		addrs, err := hostAddrs(h, s.InetProtocols, host != "")
		if err != nil {
			return nil, fmt.Errorf("%v: host not found: %s", svc.Origin, h)
		}
		for _, a := range addrs {
			network := "tcp4"
			if a.Is6() {
				network = "tcp6"
			}
			all = append(all, endpoint{service: svc, network: network, window: s.WindowSize, addr: netip.AddrPortFrom(a, n)})
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%v: service %s: no address of inet_protocols to listen on", svc.Origin, svc.Name)
	}
	return all, nil
}

// portNumber resolves a port by number or by its name in /etc/services.
func portNumber(port string) (uint16, error) {
	if n, err := strconv.ParseUint(port, 10, 16); err == nil {
		return uint16(n), nil
	}
	n, err := postconf.LookupPort(port)
	return uint16(n), err
}

// hostAddrs resolves one element of inet_interfaces or the host of a service.
// Addresses of a protocol that is off are left out.
func hostAddrs(host string, protocols []string, literal bool) ([]netip.Addr, error) {
	v4, v6 := protocolsOn(protocols)
	var addrs []netip.Addr
	switch {
	case !literal && host == "all":
		addrs = []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
	case !literal && host == "loopback-only":
		addrs = []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()}
	default:
		host = strings.Trim(host, "[]")
		if a, err := netip.ParseAddr(host); err == nil {
			addrs = []netip.Addr{a.Unmap()}
			break
		}
		found, err := net.DefaultResolver.LookupNetIP(context.Background(), "ip", host)
		if err != nil {
			return nil, err
		}
		for _, a := range found {
			addrs = append(addrs, a.Unmap())
		}
	}
	var on []netip.Addr
	for _, a := range addrs {
		if a.Is4() && v4 || a.Is6() && v6 {
			on = append(on, a)
		}
	}
	return on, nil
}

// protocolsOn reads inet_protocols; an IPv6 that the kernel lacks is off.
func protocolsOn(protocols []string) (v4, v6 bool) {
	for _, p := range protocols {
		switch p {
		case "all":
			v4, v6 = true, true
		case "ipv4":
			v4 = true
		case "ipv6":
			v6 = true
		}
	}
	if v6 {
		if _, err := os.Stat("/proc/net/if_inet6"); err != nil && v4 {
			v6 = false
		}
	}
	return v4, v6
}

// sockets are the listening sockets of the server, by key. Their owner closes
// them; a listener made from one is a copy.
type sockets map[string]*os.File

// bind returns the sockets of all endpoints, taking over those that old has,
// and the ones that are new. When one cannot be bound, nothing stays open.
func bind(old sockets, all []endpoint) (set, fresh sockets, err error) {
	set, fresh = sockets{}, sockets{}
	for _, e := range all {
		if f, ok := old[e.key()]; ok {
			set[e.key()] = f
			continue
		}
		f, err := bindOne(e)
		if err != nil {
			fresh.close()
			return nil, nil, err
		}
		set[e.key()], fresh[e.key()] = f, f
	}
	return set, fresh, nil
}

// bindOne opens one listening socket.
func bindOne(e endpoint) (*os.File, error) {
	var lc net.ListenConfig
	// Multipath TCP would bypass port rules of the sandbox.
	lc.SetMultipathTCP(false)
	lc.Control = wire.Window(e.window)
	ln, err := lc.Listen(context.Background(), e.network, e.addr.String())
	if err != nil {
		return nil, fmt.Errorf("bind %s port %d: %s", e.addr.Addr(), e.addr.Port(), sys.Reason(err))
	}
	defer ln.Close()
	return ln.(*net.TCPListener).File()
}

// close closes all sockets.
func (s sockets) close() {
	for _, f := range s {
		f.Close()
	}
}

// closeExcept closes the sockets that are not in keep.
func (s sockets) closeExcept(keep sockets) {
	for key, f := range s {
		if keep[key] == nil {
			f.Close()
		}
	}
}
