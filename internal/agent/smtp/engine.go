package smtp

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"sync"

	"postroad/internal/mail"
	"postroad/internal/tlsmgr"
)

// tlsResult is an established TLS session.
type tlsResult struct {
	conn net.Conn
	tls  *mail.TLS
	// trust is Anonymous, Untrusted, Trusted or Verified; err is what the level
	// asks for and the certificate does not give.
	trust string
	err   error
}

// engine makes TLS client connections for one Client. Configurations are
// built once for each combination of protocols and ciphers that policies name.
type engine struct {
	set     *Settings
	mu      sync.Mutex
	clients map[engineKey]*tlsmgr.Client
}

type engineKey struct{ protocols, ciphers, exclude string }

// maxEngines bounds the combinations that policies may name.
const maxEngines = 100

var errManyPolicies = errors.New("too many different TLS policies")

// newEngine checks that the settings make sense, for both kinds of levels.
func newEngine(set *Settings) (*engine, error) {
	e := &engine{set: set, clients: make(map[engineKey]*tlsmgr.Client)}
	for _, l := range []Level{LevelMay, LevelEncrypt} {
		if _, err := e.client(&policy{level: l}); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// client returns the configuration for a policy.
func (e *engine) client(p *policy) (*tlsmgr.Client, error) {
	k := engineKey{e.set.TLSProtocols, e.set.TLSCiphers, e.set.TLSExclude}
	if p.level >= LevelEncrypt {
		k = engineKey{e.set.TLSMandatoryProtocols, e.set.TLSMandatoryCiphers, e.set.TLSExclude + " " + e.set.TLSMandatoryExclude}
	}
	if p.protocols != "" {
		k.protocols = p.protocols
	}
	if p.ciphers != "" {
		k.ciphers = p.ciphers
	}
	if p.exclude != "" {
		k.exclude = p.exclude
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if c := e.clients[k]; c != nil {
		return c, nil
	}
	if len(e.clients) >= maxEngines {
		return nil, errManyPolicies
	}
	cs := tlsmgr.ClientSettings{
		Protocols: k.protocols, Ciphers: k.ciphers, Exclude: k.exclude, CAFile: e.set.TLSCAfile, CAPath: e.set.TLSCApath,
		CertFile: e.set.TLSCertFile, KeyFile: e.set.TLSKeyFile, ChainFiles: e.set.TLSChainFiles, Digest: e.set.TLSDigest,
		Grades: tlsmgr.Grades{High: e.set.TLSHigh, Medium: e.set.TLSMedium}, Groups: tlsmgr.Groups{Auto: e.set.TLSCurves},
		AppendCA: e.set.TLSAppendCA, VerifyDepth: e.set.TLSVerifyDepth, ManyLabels: e.set.TLSManyLabels,
	}
	if cs.CertFile == "" {
		cs.CertFile, cs.KeyFile = e.set.TLSECCertFile, e.set.TLSECKeyFile
	}
	c, err := tlsmgr.NewClient(&cs)
	if err != nil {
		return nil, err
	}
	e.clients[k] = c
	return c, nil
}

// handshake makes conn a TLS connection as p asks.
func (e *engine) handshake(ctx context.Context, conn net.Conn, p *policy, host, nexthop string) (tlsResult, error) {
	client, err := e.client(p)
	if err != nil {
		return tlsResult{}, err
	}
	t := e.target(p, host, nexthop)
	tc := tls.Client(conn, client.Config(t))
	if err := tc.HandshakeContext(ctx); err != nil {
		return tlsResult{}, err
	}
	res := tlsResult{conn: tc}
	res.tls, res.trust, res.err = client.Verify(tc.ConnectionState(), t)
	return res, nil
}

// target says which server is meant.
func (e *engine) target(p *policy, host, nexthop string) *tlsmgr.Target {
	t := &tlsmgr.Target{Level: p.level.engine()}
	t.ServerName = p.servername
	if t.ServerName == "" {
		t.ServerName = e.set.TLSServerName
	}
	switch t.ServerName {
	case "hostname":
		t.ServerName = host
	case "nexthop":
		t.ServerName = nexthop
	}
	match := p.match
	switch p.level {
	case LevelFingerprint:
		if len(match) == 0 {
			match = e.set.TLSFingerprintMatch
		}
		t.Fingerprints = match
		return t
	case LevelSecure:
		if len(match) == 0 {
			match = e.set.TLSSecureMatch
		}
	default:
		// At the lower levels a match is good to know, no more.
		if len(match) == 0 {
			match = e.set.TLSVerifyMatch
		}
	}
	for _, m := range match {
		for _, word := range strings.Split(m, ":") {
			switch strings.ToLower(word) {
			case "":
			case "hostname":
				t.Names = append(t.Names, host)
			case "nexthop":
				t.Names = append(t.Names, nexthop)
			case "dot-nexthop":
				t.Names = append(t.Names, "."+nexthop)
			default:
				t.Names = append(t.Names, word)
			}
		}
	}
	return t
}

// engine is the level in the words of tlsmgr.
func (l Level) engine() tlsmgr.Level {
	switch l {
	case LevelMay:
		return tlsmgr.LevelMay
	case LevelEncrypt, LevelDANE, LevelDANEOnly:
		return tlsmgr.LevelEncrypt
	case LevelFingerprint:
		return tlsmgr.LevelFingerprint
	case LevelVerify:
		return tlsmgr.LevelVerify
	case LevelSecure:
		return tlsmgr.LevelSecure
	}
	return tlsmgr.LevelNone
}

// describe is for the log.
func (r *tlsResult) describe() string {
	if r.tls == nil {
		return ""
	}
	return tlsmgr.Summary(r.tls)
}
