package table

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/go-ldap/ldap/v3"
)

// Default places of a directory.
const (
	ldapPort   = 389
	ldapsPort  = 636
	ldapSocket = "/var/run/slapd/ldapi"
)

// maxLDAPURL bounds the URLs that a directory may hold.
const maxLDAPURL = 8192

// errLDAPURL is the cause when an LDAP URL makes no sense.
var errLDAPURL = errors.New("malformed LDAP URL")

// ldapURL is an LDAP URL (RFC 4516): a server, and what to search there.
type ldapURL struct {
	// network and address are as for net.Dial, host is the name of the server
	// in its certificate; all are empty in a URL without server.
	network, address, host string
	encrypted              bool
	dn                     string
	attributes             []string
	scope                  int
	// hasScope and filter tell what the URL has itself.
	hasScope bool
	filter   string
}

// isLDAPURL tells whether text is meant to be an LDAP URL.
func isLDAPURL(text string) bool {
	scheme, _, found := strings.Cut(text, "://")
	return found && (strings.EqualFold(scheme, "ldap") || strings.EqualFold(scheme, "ldaps") || strings.EqualFold(scheme, "ldapi"))
}

// parseLDAPURL reads scheme://host:port/dn?attributes?scope?filter?extensions.
func parseLDAPURL(text string) (*ldapURL, error) {
	bad := fmt.Errorf("%w: %s", errLDAPURL, printable(text, 200))
	if len(text) > maxLDAPURL || !isLDAPURL(text) {
		return nil, bad
	}
	scheme, rest, _ := strings.Cut(text, "://")
	where, rest, _ := strings.Cut(rest, "/")
	if strings.Contains(where, "?") {
		return nil, bad
	}
	u := &ldapURL{scope: ldap.ScopeBaseObject}
	if err := u.server(strings.ToLower(scheme), where); err != nil {
		return nil, bad
	}
	parts := strings.Split(rest, "?")
	if len(parts) > 5 {
		return nil, bad
	}
	for i := range parts[:min(len(parts), 4)] {
		part, err := url.PathUnescape(parts[i])
		if err != nil || strings.IndexByte(part, 0) >= 0 || !u.part(i, part) {
			return nil, bad
		}
	}
	return u, nil
}

// server reads the first part of a URL.
func (u *ldapURL) server(scheme, where string) error {
	if scheme == "ldapi" {
		path, err := url.PathUnescape(where)
		if path == "" {
			path = ldapSocket
		}
		u.network, u.address, u.host = "unix", path, "localhost"
		return err
	}
	port := ldapPort
	if u.encrypted = scheme == "ldaps"; u.encrypted {
		port = ldapsPort
	}
	u.network = "tcp"
	return u.place(where, port)
}

// place reads "host", "host:port" and "[address]:port".
func (u *ldapURL) place(where string, port int) error {
	host := where
	if i := strings.LastIndexByte(where, ':'); i > strings.LastIndexByte(where, ']') {
		n, err := strconv.ParseUint(where[i+1:], 10, 16)
		if err != nil {
			return errLDAPURL
		}
		host, port = where[:i], int(n)
	}
	if inner, bracketed := strings.CutPrefix(host, "["); bracketed {
		if host, bracketed = strings.CutSuffix(inner, "]"); !bracketed {
			return errLDAPURL
		}
	}
	if host == "" {
		host = "localhost"
	}
	u.host, u.address = host, net.JoinHostPort(host, strconv.Itoa(port))
	return nil
}

// ldapScopes has the scopes by the names that URLs and settings have for them.
var ldapScopes = map[string]int{
	"base": ldap.ScopeBaseObject,
	"one":  ldap.ScopeSingleLevel,
	"sub":  ldap.ScopeWholeSubtree,
}

// part reads the parts behind the server.
func (u *ldapURL) part(i int, text string) bool {
	switch {
	case i == 0:
		u.dn = text
	case text == "":
	case i == 1:
		u.attributes = strings.Split(text, ",")
	case i == 2:
		u.scope, u.hasScope = ldapScopes[strings.ToLower(text)]
		return u.hasScope
	default:
		filter, err := normalFilter(text)
		u.filter = filter
		return err == nil
	}
	return true
}

// parseLDAPServers reads server_host: URLs, and hosts with or without a port.
func parseLDAPServers(c *clientConfig, o *Options) []*ldapURL {
	port := c.number("server_port", ldapPort, 0)
	c.needed("server_host", "localhost")
	items := c.list("server_host")
	if len(items) == 0 {
		items = []string{"localhost"}
	}
	var servers []*ldapURL
	for _, item := range items {
		u := &ldapURL{network: "tcp"}
		var err error
		if strings.Contains(item, "://") {
			u, err = parseLDAPURL(item)
		} else {
			err = u.place(item, port)
		}
		if err != nil {
			o.warnf("%s: server_host: %v; skipping", c.name, err)
			continue
		}
		if u.network == "unix" {
			u.address = o.path(u.address)
		}
		servers = append(servers, u)
	}
	if len(servers) == 0 {
		c.fail("%s: no usable server in server_host", c.name)
	}
	return servers
}
