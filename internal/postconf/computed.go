package postconf

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"postroad/internal/sys"
)

// lookupTimeout bounds the look-up of a name in inet_interfaces.
const lookupTimeout = 10 * time.Second

// defaultHostname is the default of myhostname: the name of the host, with
// $mydomain after it when it has no dot.
func (v *View) defaultHostname() string {
	name := v.cfg.hostname
	if name == "" {
		name = "localhost"
	}
	if strings.IndexByte(name, '.') >= 0 {
		return name
	}
	domain := "localdomain"
	if raw, _, ok := v.setting("mydomain"); ok {
		// A $myhostname in there would go round in a circle; expansion says so.
		domain = raw
	}
	return name + "." + domain
}

// defaultDomain is the default of mydomain: myhostname without its first label.
func (v *View) defaultDomain() string {
	// It does not exist yet when myhostname is read.
	w := *v
	w.noDomain = true
	host, err := w.Value("myhostname")
	if err != nil {
		return "localdomain"
	}
	if i := strings.IndexByte(host, '.'); i >= 0 {
		return host[i+1:]
	}
	return "localdomain"
}

// networks is the default of mynetworks. It is computed once for main.cf; a view
// that changes what it depends on computes it anew.
func (v *View) networks() (string, error) {
	if !v.overridesNetworks() {
		return v.cfg.mynetworks()
	}
	return v.computeNetworks()
}

// overridesNetworks reports whether v itself sets what mynetworks depends on.
func (v *View) overridesNetworks() bool {
	for _, name := range [...]string{"mynetworks_style", "inet_interfaces", "inet_protocols", "compatibility_level"} {
		if v.svc != nil {
			if _, ok := v.svc.Override(name); ok {
				return true
			}
		}
		for _, o := range v.over {
			if o.Name == name {
				return true
			}
		}
	}
	return false
}

// computeNetworks makes the list of networks of the own addresses: the hosts
// themselves, their subnets, or their classes.
func (v *View) computeNetworks() (string, error) {
	w := *v
	w.noNetworks = true
	v = &w
	style, err := v.Value("mynetworks_style")
	if err != nil {
		return "", err
	}
	if err := v.checkStyle(style); err != nil {
		return "", err
	}
	own, err := v.ownAddresses()
	if err != nil {
		return "", err
	}
	var out []string
	seen := map[string]bool{}
	for _, p := range own {
		s := networkOf(p, style)
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return strings.Join(out, " "), nil
}

// checkStyle checks a value of mynetworks_style.
func (v *View) checkStyle(style string) error {
	_, o, _ := v.Raw("mynetworks_style")
	words := SplitList(style)
	for _, word := range words {
		if word != "host" && word != "subnet" && word != "class" {
			return newValueError(v.place(o), fmt.Sprintf("unknown mynetworks mask style value \"%s\" in \"%s\"", word, style))
		}
	}
	if len(words) != 1 || words[0] != style {
		return newValueError(v.place(o), fmt.Sprintf("bad mynetworks_style value: %s; specify exactly one value", style))
	}
	return nil
}

// networkOf returns the pattern for one own address.
func networkOf(p netip.Prefix, style string) string {
	bits := p.Bits()
	switch {
	case style == "host":
		bits = p.Addr().BitLen()
	case style == "class" && p.Addr().Is4():
		// The address classes that were in use before 1993.
		switch first := p.Addr().As4()[0]; {
		case first < 128:
			bits = 8
		case first < 192:
			bits = 16
		case first < 224:
			bits = 24
		default:
			bits = 4
		}
	}
	net, err := p.Addr().WithZone("").Prefix(bits)
	if err != nil {
		return ""
	}
	if net.Addr().Is6() {
		return fmt.Sprintf("[%s]/%d", net.Addr(), bits)
	}
	return net.String()
}

// ownAddresses returns the addresses on which this host receives mail, with their
// masks, as inet_interfaces and inet_protocols say.
func (v *View) ownAddresses() ([]netip.Prefix, error) {
	want, err := v.Value("inet_interfaces")
	if err != nil {
		return nil, err
	}
	protocols, err := v.Value("inet_protocols")
	if err != nil {
		return nil, err
	}
	all, err := v.cfg.interfaces()
	if err != nil {
		return nil, fmt.Errorf("could not find any active network interfaces: %v", err)
	}
	all = ofProtocols(all, protocols)
	switch want {
	case "all":
		return all, nil
	case "loopback-only":
		var out []netip.Prefix
		for _, p := range all {
			if p.Addr().IsLoopback() {
				out = append(out, p)
			}
		}
		return out, nil
	}
	_, o, _ := v.Raw("inet_interfaces")
	var out []netip.Prefix
	for _, host := range strings.FieldsFunc(want, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' }) {
		addrs, err := hostAddrs(host, v.cfg.lookupHost)
		if err != nil {
			return nil, newValueError(v.place(o), "config variable inet_interfaces: host not found: "+host)
		}
		for _, a := range addrs {
			p, ok := prefixOf(all, a)
			if !ok && len(ofProtocols([]netip.Prefix{netip.PrefixFrom(a, a.BitLen())}, protocols)) == 0 {
				continue
			}
			if !ok {
				return nil, newValueError(v.place(o), "parameter inet_interfaces: no local interface found for "+a.String())
			}
			out = append(out, p)
		}
	}
	return out, nil
}

// hostAddrs returns the addresses of an item of inet_interfaces.
func hostAddrs(host string, lookup func(string) ([]netip.Addr, error)) ([]netip.Addr, error) {
	literal := strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if a, err := netip.ParseAddr(literal); err == nil {
		return []netip.Addr{a}, nil
	}
	addrs, err := lookup(host)
	if err == nil && len(addrs) == 0 {
		err = fmt.Errorf("no address")
	}
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	return addrs, err
}

// prefixOf returns the interface address that is equal to a.
func prefixOf(all []netip.Prefix, a netip.Addr) (netip.Prefix, bool) {
	for _, p := range all {
		if p.Addr().WithZone("") == a.WithZone("") {
			return p, true
		}
	}
	return netip.Prefix{}, false
}

// ofProtocols returns the addresses of the protocols that are enabled.
func ofProtocols(all []netip.Prefix, protocols string) []netip.Prefix {
	four, six := false, false
	for _, p := range SplitList(protocols) {
		switch p {
		case "all":
			four, six = true, true
		case "ipv4":
			four = true
		case "ipv6":
			six = true
		}
	}
	// The order of the families is that of Postfix.
	var out, last []netip.Prefix
	for _, p := range all {
		if p.Addr().Is4() && four {
			out = append(out, p)
		} else if p.Addr().Is6() && six {
			last = append(last, p)
		}
	}
	return append(out, last...)
}

// Myorigin returns the value of myorigin. One that begins with "/" is the name of
// a file whose first line is the value, a custom of Debian.
func (v *View) Myorigin() (string, error) {
	value, err := v.Value("myorigin")
	if err != nil || !strings.HasPrefix(value, "/") {
		return value, err
	}
	_, o, _ := v.Raw("myorigin")
	data, err := os.ReadFile(value)
	if err != nil {
		return "", newValueError(v.place(o), value+": "+sys.Reason(err))
	}
	line, _, _ := strings.Cut(string(data), "\n")
	if line = strings.Trim(line, spaces); line == "" {
		return "", newValueError(v.place(o), "myorigin file "+value+" is empty")
	}
	return line, nil
}
