package tlsmgr

import (
	"crypto/tls"
	"strings"
)

// suite is a cipher suite up to TLS 1.2 by its names and properties.
type suite struct {
	id   uint16
	name string
	// words are the OpenSSL selectors that match the suite.
	words string
	bits  int
}

// suites are all suites that Go can speak and that are neither anonymous nor
// without encryption, in the order of preference of an OpenSSL server.
var suites = [...]suite{
	{tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, "ECDHE-ECDSA-AES256-GCM-SHA384", "HIGH ECDHE EECDH kEECDH kECDHE aECDSA ECDSA AES AES256 AESGCM SHA384", 256},
	{tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, "ECDHE-RSA-AES256-GCM-SHA384", "HIGH ECDHE EECDH kEECDH kECDHE aRSA AES AES256 AESGCM SHA384", 256},
	{tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, "ECDHE-ECDSA-CHACHA20-POLY1305", "HIGH ECDHE EECDH kEECDH kECDHE aECDSA ECDSA CHACHA20", 256},
	{tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, "ECDHE-RSA-CHACHA20-POLY1305", "HIGH ECDHE EECDH kEECDH kECDHE aRSA CHACHA20", 256},
	{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, "ECDHE-ECDSA-AES128-GCM-SHA256", "HIGH ECDHE EECDH kEECDH kECDHE aECDSA ECDSA AES AES128 AESGCM SHA256", 128},
	{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, "ECDHE-RSA-AES128-GCM-SHA256", "HIGH ECDHE EECDH kEECDH kECDHE aRSA AES AES128 AESGCM SHA256", 128},
	{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256, "ECDHE-ECDSA-AES128-SHA256", "HIGH ECDHE EECDH kEECDH kECDHE aECDSA ECDSA AES AES128 SHA256 CBC", 128},
	{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256, "ECDHE-RSA-AES128-SHA256", "HIGH ECDHE EECDH kEECDH kECDHE aRSA AES AES128 SHA256 CBC", 128},
	{tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA, "ECDHE-ECDSA-AES256-SHA", "HIGH ECDHE EECDH kEECDH kECDHE aECDSA ECDSA AES AES256 SHA SHA1 CBC", 256},
	{tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA, "ECDHE-RSA-AES256-SHA", "HIGH ECDHE EECDH kEECDH kECDHE aRSA AES AES256 SHA SHA1 CBC", 256},
	{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, "ECDHE-ECDSA-AES128-SHA", "HIGH ECDHE EECDH kEECDH kECDHE aECDSA ECDSA AES AES128 SHA SHA1 CBC", 128},
	{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, "ECDHE-RSA-AES128-SHA", "HIGH ECDHE EECDH kEECDH kECDHE aRSA AES AES128 SHA SHA1 CBC", 128},
	{tls.TLS_RSA_WITH_AES_256_GCM_SHA384, "AES256-GCM-SHA384", "HIGH kRSA RSA aRSA AES AES256 AESGCM SHA384", 256},
	{tls.TLS_RSA_WITH_AES_128_GCM_SHA256, "AES128-GCM-SHA256", "HIGH kRSA RSA aRSA AES AES128 AESGCM SHA256", 128},
	{tls.TLS_RSA_WITH_AES_128_CBC_SHA256, "AES128-SHA256", "HIGH kRSA RSA aRSA AES AES128 SHA256 CBC", 128},
	{tls.TLS_RSA_WITH_AES_256_CBC_SHA, "AES256-SHA", "HIGH kRSA RSA aRSA AES AES256 SHA SHA1 CBC", 256},
	{tls.TLS_RSA_WITH_AES_128_CBC_SHA, "AES128-SHA", "HIGH kRSA RSA aRSA AES AES128 SHA SHA1 CBC", 128},
}

// suites13 are the suites of TLS 1.3, which cannot be chosen.
var suites13 = [...]suite{
	{tls.TLS_AES_256_GCM_SHA384, "TLS_AES_256_GCM_SHA384", "", 256},
	{tls.TLS_CHACHA20_POLY1305_SHA256, "TLS_CHACHA20_POLY1305_SHA256", "", 256},
	{tls.TLS_AES_128_GCM_SHA256, "TLS_AES_128_GCM_SHA256", "", 128},
}

// CipherSuites gives the suites of a grade without the excluded ones. The
// grades high and medium are the same set here: Go has nothing in between. The
// lower grades, which Postfix treats as medium since 3.8, are too.
func CipherSuites(param, grade, exclude string) ([]uint16, error) {
	switch strings.ToLower(grade) {
	case "high", "medium", "low", "export":
	case "null":
		return nil, &ConfigError{param, grade, "suites without encryption are not supported"}
	default:
		return nil, &ConfigError{param, grade, "not one of high, medium"}
	}
	words := strings.FieldsFunc(exclude, func(r rune) bool { return strings.ContainsRune(" \t\r\n,:", r) })
	var ids []uint16
	for i := range suites {
		if !suites[i].excluded(words) {
			ids = append(ids, suites[i].id)
		}
	}
	if len(ids) == 0 {
		return nil, &ConfigError{param, grade, "no cipher suite is left"}
	}
	return ids, nil
}

// excluded tells whether one of the words selects the suite. Words joined by
// "+" must all match.
func (s *suite) excluded(words []string) bool {
	for _, word := range words {
		all := true
		for _, part := range strings.Split(strings.TrimLeft(word, "!-"), "+") {
			all = all && s.matches(part)
		}
		if all {
			return true
		}
	}
	return false
}

func (s *suite) matches(word string) bool {
	if strings.EqualFold(word, s.name) || strings.EqualFold(word, "ALL") {
		return true
	}
	for _, w := range strings.Fields(s.words) {
		if strings.EqualFold(w, word) {
			return true
		}
	}
	return false
}

// cipherName gives the OpenSSL name of a suite and the bits of its key.
func cipherName(id uint16) (name string, bits int) {
	for _, list := range [][]suite{suites13[:], suites[:]} {
		for i := range list {
			if list[i].id == id {
				return list[i].name, list[i].bits
			}
		}
	}
	return tls.CipherSuiteName(id), 0
}
