package dns

import (
	"bufio"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"
)

// Limits of resolv.conf(5), which we keep.
const (
	maxServers   = 3
	maxSearch    = 6
	maxConfBytes = 64 << 10
)

// ReadResolvConf reads a resolv.conf(5). Unknown words are passed over, as the
// C library does. Without a nameserver line the server is 127.0.0.1.
func ReadResolvConf(path string) (Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return Config{}, err
	}
	defer f.Close()
	return parseResolvConf(f)
}

func parseResolvConf(r io.Reader) (Config, error) {
	c := Config{}
	in := bufio.NewScanner(io.LimitReader(r, maxConfBytes))
	in.Buffer(make([]byte, 0, 1024), maxConfBytes)
	for in.Scan() {
		line := in.Text()
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		c.word(words[0], words[1:])
	}
	if len(c.Servers) == 0 {
		c.Servers = []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 53)}
	}
	return c, in.Err()
}

// word takes one line of the file.
func (c *Config) word(key string, args []string) {
	switch key {
	case "nameserver":
		if addr, err := netip.ParseAddr(args[0]); err == nil && len(c.Servers) < maxServers {
			c.Servers = append(c.Servers, netip.AddrPortFrom(addr, 53))
		}
	case "domain", "search":
		// The last of them wins.
		c.Search = nil
		if key == "domain" {
			args = args[:1]
		}
		for _, d := range args {
			if name, ok := ToASCII(d); ok && len(c.Search) < maxSearch {
				c.Search = append(c.Search, name)
			}
		}
	case "options":
		for _, o := range args {
			c.option(o)
		}
	}
}

// option takes one word of an options line, with the caps of resolv.conf(5).
func (c *Config) option(o string) {
	name, value, _ := strings.Cut(o, ":")
	n, err := strconv.Atoi(value)
	number := err == nil && n >= 0
	switch {
	case name == "rotate":
		c.Rotate = true
	case name == "trust-ad":
		c.TrustAD = true
	case name == "use-vc":
		c.TCPOnly = true
	case name == "timeout" && number:
		c.Timeout = time.Duration(min(max(n, 1), 30)) * time.Second
	case name == "attempts" && number:
		c.Attempts = min(max(n, 1), 5)
	case name == "ndots" && number:
		c.Ndots = min(n, 15)
	}
}
