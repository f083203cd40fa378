package sweep

import (
	"net"
	"slices"
	"strconv"
	"strings"

	"postroad/internal/postconf"
	"postroad/internal/testkit/box"
)

// Session is one connection: who asks what of which service.
type Session struct {
	// Service is for people; Addr is where it listens.
	Service, Addr string
	// Client is the address that the connection comes from.
	Client string
	// Wrapped and TLS tell that TLS comes first, or after EHLO.
	Wrapped, TLS bool
	// Lines are the commands; "AUTH joe" and "DATA" stand for their exchanges.
	Lines []string
}

// service is one smtpd(8) of a configuration.
type service struct {
	name, addr string
	wrapped    bool
	errors     int // how many a client may make before it is slowed down
	local      bool
}

// clients are the addresses that sessions come from: see worldZone.
var clients = []string{"198.51.100.10", "198.51.100.11", "198.51.100.12", "198.51.100.13", "198.51.100.14", "198.51.100.70", "203.0.113.66",
	"127.0.0.1", "192.0.2.50", "2001:db8::25"}

// services are those of the configuration that can be asked.
func (s *stager) services() []service {
	var out []service
	for _, v := range s.views[1:] {
		svc := v.Service()
		host, port, err := svc.HostPort()
		if err != nil || svc.Type != "inet" {
			continue
		}
		number, err := postconf.LookupPort(port)
		if err != nil {
			continue
		}
		if host == "" {
			host = box.ServerIP
		}
		one := service{name: svc.Name, addr: net.JoinHostPort(host, strconv.Itoa(number))}
		one.local = strings.HasPrefix(one.addr, "127.") || strings.HasPrefix(one.addr, "localhost")
		if !one.local && host != box.ServerIP {
			continue // an address that the box has not
		}
		one.wrapped, _ = v.Bool("smtpd_tls_wrappermode") // what cannot be read is off
		soft, err := v.Int("smtpd_soft_error_limit")
		if err != nil || soft > 10 {
			soft = 10
		}
		hard, err := v.Int("smtpd_hard_error_limit")
		if err != nil || hard > 10 {
			hard = 10
		}
		one.errors = int(min(soft, hard)) - 2
		out = append(out, one)
	}
	return out
}

// sessions makes n sessions, as many with each service.
func (s *stager) sessions(n int) {
	services := s.services()
	if len(services) == 0 {
		return
	}
	g := s.names
	helos := []string{"mail.good.test", "mail.good.test", "localhost", "nodots", "[198.51.100.10]", "bad_name!.test", "absent.nothere.test",
		"mail.bad.test", g.host, "[1.2.3]", "host.sick.test", "1.2.3.4", "onlya.test", "nullmx.test"}
	senders := []string{"<>", "a@good.test", "a@good.test", "a@nothere.test", "a@sick.test", "user1@" + g.box, "user2@" + g.box, "ann@" + g.local, "alice@" + g.local,
		"a@bad.test", "nodomain", "a@nodots", "a@[198.51.100.10]", "nosuch@" + g.box, "a@nullmx.test", "a@onlya.test", "a@[300.1]", "joe", "temp@good.test"}
	recipients := []string{"user1@" + g.box, "user1@" + g.box, "user2@" + g.box, "nobody@" + g.box, "alias1@" + g.box, "alias@" + g.aliased, "nobody@" + g.aliased,
		"user1@" + g.relayed, "nobody@" + g.relayed, "x@" + g.broken, "postmaster", "postmaster@" + g.host, "alice@" + g.local, "info@" + g.local,
		"nosuch@" + g.local, "far@good.test", "far@nothere.test", "far@sick.test", "a%good.test@" + g.local, "user1+ext@" + g.box, "@good.test:x@" + g.local,
		"alice@[192.0.2.1]", "a!b", "x@nodots", "USER1@" + strings.ToUpper(g.box), "far@nullmx.test", "bad@milter.test", "canon@" + g.box,
		"a@b@" + g.local, "\"alice\"@" + g.local, "alice@" + g.domain, "user1@sub." + g.relayed}
	logins := []string{"", "", "", "joe", "ann", "wrong"}
	pick := func(list []string) string { return list[s.rnd.IntN(len(list))] }
	for i := range n {
		svc := services[i%len(services)]
		ses := Session{Service: svc.name, Addr: svc.addr, Client: pick(clients), Wrapped: svc.wrapped}
		s.place(&ses, svc)
		ses.TLS = !svc.wrapped && s.rnd.IntN(3) == 0
		verb := "EHLO "
		if s.rnd.IntN(6) == 0 && !ses.TLS {
			verb = "HELO "
		}
		ses.Lines = append(ses.Lines, verb+pick(helos))
		if ses.TLS {
			ses.Lines = append(ses.Lines, "STARTTLS", verb+pick(helos))
		}
		if login := pick(logins); login != "" && verb == "EHLO " {
			ses.Lines = append(ses.Lines, "AUTH "+login)
		}
		for range 3 {
			ses.Lines = append(ses.Lines, "MAIL FROM:<"+strings.Trim(pick(senders), "<>")+">")
			for range 4 {
				ses.Lines = append(ses.Lines, "RCPT TO:<"+pick(recipients)+">")
			}
			switch s.rnd.IntN(6) {
			case 0:
				ses.Lines = append(ses.Lines, "DATA")
			case 1:
				ses.Lines = append(ses.Lines, "VRFY "+pick(recipients), "ETRN "+g.relayed)
			}
			ses.Lines = append(ses.Lines, "RSET")
		}
		ses.Lines = append(ses.Lines, "(errors "+strconv.Itoa(max(svc.errors, 1))+")")
		s.Sessions = append(s.Sessions, ses)
	}
}

// place makes client and service meet: on the machine itself, or by IPv6 if the
// client has such an address or the service no other.
func (s *stager) place(ses *Session, svc service) {
	_, port, _ := net.SplitHostPort(svc.addr)
	switch four, six := s.speaks("ipv4"), s.speaks("ipv6"); {
	case svc.local:
		ses.Client = "127.0.0.1"
	case !four:
		if ses.Addr = net.JoinHostPort("2001:db8::1", port); ses.Client == "127.0.0.1" {
			ses.Addr = net.JoinHostPort("::1", port)
		}
		ses.Client = map[string]string{"127.0.0.1": "::1", "198.51.100.12": "2001:db8::26"}[ses.Client]
		if ses.Client == "" {
			ses.Client = "2001:db8::25"
		}
	case ses.Client == "127.0.0.1":
		ses.Addr = net.JoinHostPort("127.0.0.1", port)
	case strings.Contains(ses.Client, ":") && six:
		ses.Addr = net.JoinHostPort("2001:db8::1", port)
	case strings.Contains(ses.Client, ":"):
		ses.Client = "198.51.100.10"
	}
}

// speaks tells whether the configuration uses a protocol.
func (s *stager) speaks(protocol string) bool {
	list, err := s.views[0].List("inet_protocols")
	return err == nil && (slices.Contains(list, "all") || slices.Contains(list, protocol))
}
