package tlsmgr

import (
	"crypto/rand"
	"crypto/tls"
	"strings"
	"sync"
	"time"
)

// ticketKeys are the keys of session tickets (RFC 5077, RFC 8446 4.6.1). A key
// seals tickets for a lifetime and opens them for another one; then it is
// forgotten, and what was said under it is safe from whoever takes the server.
type ticketKeys struct {
	lifetime time.Duration

	mu   sync.Mutex
	keys [][32]byte // the newest first
	made time.Time  // of the newest
}

// turn gives the keys of now to a configuration.
func (k *ticketKeys) turn(cfg *tls.Config, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	age := now.Sub(k.made)
	if len(k.keys) > 0 && age < k.lifetime {
		return
	}
	if age >= 2*k.lifetime {
		k.keys = nil
	}
	var key [32]byte
	_, _ = rand.Read(key[:]) // never fails
	keys := append([][32]byte{key}, k.keys...)
	k.keys, k.made = keys[:min(len(keys), 2)], now
	cfg.SetSessionTicketKeys(k.keys)
}

// sslOptions are the options of OpenSSL that tls_ssl_options may name. Those with
// true are what this server does anyway.
var sslOptions = map[string]bool{
	"no_ticket": true, "no_compression": true, "no_renegotiation": true, "no_session_resumption_on_renegotiation": true,
	"single_ecdh_use": true, "single_dh_use": true, "enable_middlebox_compat": true, "no_tx_certificate_compression": true, "no_rx_certificate_compression": true,
	"legacy_server_connect": false, "no_encrypt_then_mac": false, "prioritize_chacha": false, "tlsext_padding": false, "safari_ecdhe_ecdsa_bug": false,
	"cryptopro_tlsext_bug": false, "allow_no_dhe_kex": false, "enable_ktls": false, "no_anti_replay": true,
}

// options reads tls_ssl_options, and notes what has no effect. It tells whether
// there are to be no tickets.
func (s *Server) options(list string) (noTicket bool) {
	for _, word := range splitList(list) {
		does, known := sslOptions[strings.ToLower(word)]
		switch {
		case strings.EqualFold(word, "no_ticket"):
			noTicket = true
		case !known:
			s.Notes = append(s.Notes, "tls_ssl_options: "+word+" is not known here and has no effect")
		case !does:
			s.Notes = append(s.Notes, "tls_ssl_options: "+word+" has no effect on the TLS library")
		}
	}
	return noTicket
}
