package postconf

import "net"

// ports are the services that have a port even where the system does not list
// them, as in a small container: the default of known_tcp_ports.
var ports = map[string]int{"lmtp": 24, "smtp": 25, "smtps": 465, "submissions": 465, "submission": 587}

// LookupPort returns the number of a TCP port: a number or the name of a service.
func LookupPort(name string) (int, error) {
	if n, ok := ports[name]; ok {
		return n, nil
	}
	return net.LookupPort("tcp", name)
}
