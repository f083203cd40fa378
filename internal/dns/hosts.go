package dns

import (
	"bufio"
	"io"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"
)

// Bounds of a hosts file; what lies beyond is not read.
const (
	maxHostsBytes = 16 << 20
	maxHostsAddrs = 100
	hostsCheck    = 5 * time.Second
)

// Hosts is a hosts(5) file, read again when it changes.
type Hosts struct {
	path    string
	mu      sync.Mutex
	checked time.Time
	stamp   time.Time
	size    int64
	names   map[string][]netip.Addr
	// first has the first name of each address.
	first map[netip.Addr]string
}

// NewHosts returns the file at path; it is read at the first question.
func NewHosts(path string) *Hosts { return &Hosts{path: path} }

// Addrs returns the addresses of a name, in the order of the file.
func (h *Hosts) Addrs(name string, family Family) []netip.Addr {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refresh()
	var out []netip.Addr
	for _, a := range h.names[strings.ToLower(strings.TrimSuffix(name, "."))] {
		if family.has(a) {
			out = append(out, a)
		}
	}
	return out
}

// Name returns the first name of an address, or nothing.
func (h *Hosts) Name(addr netip.Addr) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refresh()
	return h.first[addr.Unmap()]
}

// refresh reads the file when it is new; a file that cannot be read leaves
// nothing, as for the C library.
func (h *Hosts) refresh() {
	now := time.Now()
	if h.names != nil && now.Sub(h.checked) < hostsCheck {
		return
	}
	h.checked = now
	f, err := os.Open(h.path)
	if err != nil {
		h.names, h.first = map[string][]netip.Addr{}, nil
		h.stamp = time.Time{}
		return
	}
	defer f.Close()
	st, err := f.Stat()
	if err == nil && h.names != nil && st.ModTime().Equal(h.stamp) && st.Size() == h.size {
		return
	}
	if err == nil {
		h.stamp, h.size = st.ModTime(), st.Size()
	}
	h.names, h.first = parseHosts(f)
}

func parseHosts(r io.Reader) (names map[string][]netip.Addr, first map[netip.Addr]string) {
	names, first = map[string][]netip.Addr{}, map[netip.Addr]string{}
	in := bufio.NewScanner(io.LimitReader(r, maxHostsBytes))
	for in.Scan() {
		line, _, _ := strings.Cut(in.Text(), "#")
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		addr, err := netip.ParseAddr(words[0])
		if err != nil {
			continue
		}
		addr = addr.Unmap()
		if first[addr] == "" {
			first[addr] = words[1]
		}
		for _, w := range words[1:] {
			w = strings.ToLower(w)
			if len(names[w]) < maxHostsAddrs {
				names[w] = append(names[w], addr)
			}
		}
	}
	return names, first
}
