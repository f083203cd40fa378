package postconf

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

// HostPort splits the name of an inet service into the host and the port. The
// host is empty when the service listens on the addresses of inet_interfaces, and
// is without brackets. The port is a number or the name of a service.
func (s *Service) HostPort() (host, port string, err error) { return SplitHostPort(s.Name) }

// endpoint returns a form of the name that is equal for services which would
// listen at the same place.
func (s *Service) endpoint() string {
	if s.Type != "inet" {
		return s.Name
	}
	host, port, err := s.HostPort()
	if err != nil {
		return s.Name
	}
	if n, err := LookupPort(port); err == nil {
		port = strconv.Itoa(n)
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		host = addr.String()
	}
	return host + ":" + port
}

// SplitHostPort splits "port", "host:port" and "[host]:port" as Postfix does for
// the services of master.cf. The host is empty when there is none. The errors are
// in the words of Postfix.
func SplitHostPort(s string) (host, port string, err error) {
	if strings.HasPrefix(s, "[") {
		i := strings.IndexByte(s, ']')
		if i < 0 {
			return "", "", errors.New("missing \"]\"")
		}
		rest := s[i+1:]
		if rest != "" && rest[0] != ':' {
			return "", "", errors.New("garbage after \"]\"")
		}
		host, port = s[1:i], strings.TrimPrefix(rest, ":")
		if len(host) > 5 && strings.EqualFold(host[:5], "ipv6:") {
			host = host[5:]
		}
		if host == "" {
			return "", "", errors.New("valid hostname or network address required")
		}
	} else if i := strings.LastIndexByte(s, ':'); i >= 0 {
		host, port = s[:i], s[i+1:]
	} else {
		port = s
	}
	switch {
	case port == "":
		return "", "", errors.New("missing service information")
	case host != "" && !validHost(host):
		return "", "", errors.New("valid hostname or network address required")
	case port[0] >= '0' && port[0] <= '9' && !allDigits(port):
		return "", "", errors.New("garbage after numerical service")
	}
	return host, port, nil
}

// validHost reports whether s is an address or can be the name of a host.
func validHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	return validHostname(s)
}

// validHostname reports whether s can be the name of a host: labels of at most 63
// letters, digits, hyphens and underscores, at most 255 bytes, not all numeric.
// Bytes above 127 are left to the conversion to ASCII.
func validHostname(s string) bool {
	if s == "" || len(s) > 255 {
		return false
	}
	numeric := true
	for _, label := range strings.Split(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := 0; i < len(label); i++ {
			c := label[i]
			if !isNameChar(c) && c != '-' && c < 0x80 {
				return false
			}
			numeric = numeric && c >= '0' && c <= '9'
		}
	}
	return !numeric
}
