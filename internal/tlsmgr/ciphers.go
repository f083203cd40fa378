package tlsmgr

import (
	"crypto/tls"
	"slices"
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

// The selectors of a key exchange with its signature, and of a cipher with its
// message authentication.
const (
	ecdhECDSA  = "ECDHE EECDH kEECDH kECDHE ECDH aECDSA ECDSA "
	ecdhRSA    = "ECDHE EECDH kEECDH kECDHE ECDH aRSA "
	plainRSA   = "kRSA RSA aRSA "
	gcm256     = "AES AES256 AESGCM TLSv1.2 FIPS"
	gcm128     = "AES AES128 AESGCM TLSv1.2 FIPS"
	chacha     = "CHACHA20 TLSv1.2"
	cbc128     = "AES AES128 CBC SHA256 TLSv1.2 FIPS"
	cbc256SHA1 = "AES AES256 CBC SHA SHA1 FIPS "
	cbc128SHA1 = "AES AES128 CBC SHA SHA1 FIPS "
	since10    = "TLSv1 TLSv1.0"
	since3     = "SSLv3"
)

// suites are all suites that Go can speak and an OpenSSL of today too, in the
// order of preference of an OpenSSL server. All of them are HIGH.
var suites = [...]suite{
	{tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, "ECDHE-ECDSA-AES256-GCM-SHA384", ecdhECDSA + gcm256, 256},
	{tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, "ECDHE-RSA-AES256-GCM-SHA384", ecdhRSA + gcm256, 256},
	{tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, "ECDHE-ECDSA-CHACHA20-POLY1305", ecdhECDSA + chacha, 256},
	{tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, "ECDHE-RSA-CHACHA20-POLY1305", ecdhRSA + chacha, 256},
	{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, "ECDHE-ECDSA-AES128-GCM-SHA256", ecdhECDSA + gcm128, 128},
	{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, "ECDHE-RSA-AES128-GCM-SHA256", ecdhRSA + gcm128, 128},
	{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256, "ECDHE-ECDSA-AES128-SHA256", ecdhECDSA + cbc128, 128},
	{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256, "ECDHE-RSA-AES128-SHA256", ecdhRSA + cbc128, 128},
	{tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA, "ECDHE-ECDSA-AES256-SHA", ecdhECDSA + cbc256SHA1 + since10, 256},
	{tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA, "ECDHE-RSA-AES256-SHA", ecdhRSA + cbc256SHA1 + since10, 256},
	{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, "ECDHE-ECDSA-AES128-SHA", ecdhECDSA + cbc128SHA1 + since10, 128},
	{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, "ECDHE-RSA-AES128-SHA", ecdhRSA + cbc128SHA1 + since10, 128},
	{tls.TLS_RSA_WITH_AES_256_GCM_SHA384, "AES256-GCM-SHA384", plainRSA + gcm256, 256},
	{tls.TLS_RSA_WITH_AES_128_GCM_SHA256, "AES128-GCM-SHA256", plainRSA + gcm128, 128},
	{tls.TLS_RSA_WITH_AES_128_CBC_SHA256, "AES128-SHA256", plainRSA + cbc128, 128},
	{tls.TLS_RSA_WITH_AES_256_CBC_SHA, "AES256-SHA", plainRSA + cbc256SHA1 + since3, 256},
	{tls.TLS_RSA_WITH_AES_128_CBC_SHA, "AES128-SHA", plainRSA + cbc128SHA1 + since3, 128},
}

// suites13 are the suites of TLS 1.3, which cannot be chosen.
var suites13 = [...]suite{
	{tls.TLS_AES_256_GCM_SHA384, "TLS_AES_256_GCM_SHA384", "", 256},
	{tls.TLS_CHACHA20_POLY1305_SHA256, "TLS_CHACHA20_POLY1305_SHA256", "", 256},
	{tls.TLS_AES_128_GCM_SHA256, "TLS_AES_128_GCM_SHA256", "", 128},
}

// matches tells whether an OpenSSL selector stands for the suite. Selectors that
// are joined by "+" must all match.
func (s *suite) matches(selector string) bool {
	for part := range strings.SplitSeq(selector, "+") {
		switch part {
		case s.name, "ALL", "DEFAULT", "HIGH":
			continue
		}
		if !slices.Contains(strings.Fields(s.words), part) {
			return false
		}
	}
	return true
}

// suiteNames are the OpenSSL names of suites.
func suiteNames(ids []uint16) []string {
	names := make([]string, 0, len(ids))
	for _, id := range ids {
		name, _ := cipherName(id)
		names = append(names, name)
	}
	return names
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
