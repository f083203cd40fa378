package tlsmgr

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// reloadEvery is how often the files of certificates are read again, when
// somebody asks for one: a renewed certificate needs no "postfix reload".
const reloadEvery = time.Minute

// keyRing holds the certificates of some files.
type keyRing struct {
	// load reads the files; nil when the certificates never change.
	load func() ([]tls.Certificate, error)
	warn func(format string, args ...any)
	now  func() time.Time

	certs atomic.Pointer[[]tls.Certificate]
	mu    sync.Mutex
	// checked is when the files were last read, said the last complaint.
	checked time.Time
	busy    bool
	said    string
}

// newKeyRing returns a ring with these certificates, which load gives again.
func newKeyRing(certs []tls.Certificate, load func() ([]tls.Certificate, error), warn func(string, ...any)) *keyRing {
	r := &keyRing{load: load, warn: warn, now: time.Now}
	certs = sortCerts(certs)
	r.certs.Store(&certs)
	r.checked = r.now()
	return r
}

// get returns the certificates, and has the files read again when it is time. It
// does not wait for that.
func (r *keyRing) get() []tls.Certificate {
	if r.load != nil {
		r.mu.Lock()
		due := !r.busy && r.now().Sub(r.checked) >= reloadEvery
		r.busy = r.busy || due
		r.mu.Unlock()
		if due {
			// goroutine: reads some files once.
			go r.refresh()
		}
	}
	return *r.certs.Load()
}

// refresh reads the files. What cannot be used leaves the old certificates in
// force, and is told once.
func (r *keyRing) refresh() {
	certs, err := r.load()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.busy, r.checked = false, r.now()
	if err != nil {
		if text := err.Error(); text != r.said {
			r.said = text
			if r.warn != nil {
				r.warn("cannot read the certificates again, the old ones stay: %v", err)
			}
		}
		return
	}
	r.said = ""
	certs = sortCerts(certs)
	if !sameCerts(certs, *r.certs.Load()) {
		r.certs.Store(&certs)
	}
}

func sameCerts(a, b []tls.Certificate) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if len(a[i].Certificate) != len(b[i].Certificate) {
			return false
		}
		for j := range a[i].Certificate {
			if !bytes.Equal(a[i].Certificate[j], b[i].Certificate[j]) {
				return false
			}
		}
	}
	return true
}

// NameLookup finds what tls_server_sni_maps have for a name.
type NameLookup func(ctx context.Context, name string) (value string, ok bool, err error)

// maxRings bounds the certificates that are kept for names.
const maxRings = 10000

// nameRings are the certificates for the names that clients ask for (RFC 6066 3).
type nameRings struct {
	lookup NameLookup
	read   ReadFile
	warn   func(format string, args ...any)

	mu    sync.Mutex
	rings map[string]*keyRing
}

// get returns the certificates for a name; nil stands for the default ones.
func (n *nameRings) get(ctx context.Context, name string) []tls.Certificate {
	value, err := n.find(ctx, strings.ToLower(strings.TrimSuffix(name, ".")))
	if err == nil && value == "" {
		return nil
	}
	var ring *keyRing
	if err == nil {
		ring, err = n.ring(value)
	}
	if err != nil {
		n.warn("tls_server_sni_maps: %.100s: %v", name, err)
		return nil
	}
	return ring.get()
}

// find looks up a name, then its parents with a dot in front.
func (n *nameRings) find(ctx context.Context, name string) (string, error) {
	for key := name; key != ""; {
		value, ok, err := n.lookup(ctx, key)
		if err != nil || ok {
			return value, err
		}
		i := strings.IndexByte(key[1:], '.')
		if i < 0 {
			break
		}
		key = key[i+1:]
	}
	return "", nil
}

// ring returns the certificates that a value of the tables names: files as in
// smtpd_tls_chain_files, or what "postmap -F" has put into the table.
func (n *nameRings) ring(value string) (*keyRing, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if r := n.rings[value]; r != nil {
		return r, nil
	}
	load, changes := n.loader(value)
	certs, err := load()
	if err != nil {
		return nil, err
	}
	if !changes {
		load = nil
	}
	if n.rings == nil || len(n.rings) >= maxRings {
		n.rings = map[string]*keyRing{}
	}
	r := newKeyRing(certs, load, n.warn)
	n.rings[value] = r
	return r, nil
}

// loader tells how to read the certificates of a value, and whether they may
// change while the value stays.
func (n *nameRings) loader(value string) (load func() ([]tls.Certificate, error), changes bool) {
	if text, err := base64.StdEncoding.DecodeString(value); err == nil && bytes.Contains(text, []byte("-----BEGIN ")) {
		return func() ([]tls.Certificate, error) {
			return LoadChains([]string{"table"}, func(string) ([]byte, error) { return text, nil })
		}, false
	}
	files := strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' })
	if len(files) == 0 {
		return func() ([]tls.Certificate, error) { return nil, fmt.Errorf("no file in %q", value) }, false
	}
	return func() ([]tls.Certificate, error) { return LoadChains(files, n.read) }, true
}
