package smtp

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"postroad/internal/dns"
	"postroad/internal/postconf"
)

// site is one item of a next-hop list.
type site struct {
	// name is the item as it stands in the configuration; it is the key of
	// policies, passwords and the connection cache.
	name string
	// path is set for a UNIX-domain socket, host and port for the network.
	path, host string
	port       uint16
	// useMX asks for mail exchangers of host.
	useMX bool
	// explicitPort tells that the item itself named the port.
	explicitPort bool
	fallback     bool
}

// maxSites bounds a next-hop list.
const maxSites = 100

// parseSites reads a next-hop list: items separated by comma or white space.
func parseSites(list string, defaultPort string, lmtp bool) ([]site, error) {
	if strings.IndexByte(list, ',') < 0 && strings.IndexByte(list, ' ') < 0 {
		s, err := parseSite(list, defaultPort, lmtp)
		return []site{s}, err
	}
	items := strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\r' || r == '\n' })
	if len(items) > maxSites {
		return nil, fmt.Errorf("more than %d next hops", maxSites)
	}
	out := make([]site, 0, len(items))
	for _, item := range items {
		s, err := parseSite(item, defaultPort, lmtp)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// parseSite reads one next hop: domain, domain:port, [host], [host]:port, and
// for LMTP unix:path and inet:host.
func parseSite(item, defaultPort string, lmtp bool) (site, error) {
	s := site{name: item}
	dest := item
	if lmtp {
		if path, ok := strings.CutPrefix(item, "unix:"); ok {
			if path == "" {
				return s, fmt.Errorf("bad next hop: %q", item)
			}
			s.path = path
			return s, nil
		}
		dest = strings.TrimPrefix(dest, "inet:")
	}
	port := ""
	s.useMX = !lmtp && !strings.HasPrefix(dest, "[")
	if rest, ok := strings.CutPrefix(dest, "["); ok {
		host, after, ok := strings.Cut(rest, "]")
		if !ok || after != "" && after[0] != ':' {
			return s, fmt.Errorf("bad next hop: %q", item)
		}
		s.host = host
		if after != "" {
			port = after[1:]
			s.explicitPort = true
		}
	} else if i := strings.IndexByte(dest, ':'); i >= 0 {
		s.host, port, s.explicitPort = dest[:i], dest[i+1:], true
	} else {
		s.host = dest
	}
	s.host = strings.TrimSuffix(s.host, ".")
	// RFC 5321 4.1.3: an IPv6 address literal has a tag.
	if rest, ok := cutPrefixFold(s.host, "IPv6:"); ok {
		s.host = rest
	}
	if s.host == "" || s.explicitPort && port == "" {
		return s, fmt.Errorf("bad next hop: %q", item)
	}
	if !s.explicitPort {
		port = defaultPort
	}
	n, err := parsePort(port)
	s.port = n
	return s, err
}

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix) {
		return s[len(prefix):], true
	}
	return s, false
}

// parsePort reads a port number or the name of a service.
func parsePort(port string) (uint16, error) {
	// The usual names need no file.
	switch port {
	case "smtp":
		return 25, nil
	case "lmtp":
		return 24, nil
	case "submission":
		return 587, nil
	case "submissions", "smtps":
		return 465, nil
	}
	if n, err := strconv.ParseUint(port, 10, 16); err == nil && n > 0 {
		return uint16(n), nil
	}
	n, err := postconf.LookupPort(port)
	if err != nil || n <= 0 || n > 65535 {
		return 0, fmt.Errorf("unknown service: %s/tcp", port)
	}
	return uint16(n), nil
}

// asciiHost returns the form of a host that the DNS knows.
func asciiHost(host string) string {
	if _, err := netip.ParseAddr(host); err == nil {
		return host
	}
	if ascii, ok := dns.ToASCII(host); ok {
		return ascii
	}
	return host
}
