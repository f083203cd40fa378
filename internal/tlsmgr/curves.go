package tlsmgr

import (
	"crypto/tls"
	"slices"
	"strings"
)

// curves are the key exchanges that Go knows, by the names of OpenSSL.
var curves = map[string]tls.CurveID{
	"x25519": tls.X25519, "x25519mlkem768": tls.X25519MLKEM768, "secp256r1mlkem768": tls.SecP256r1MLKEM768, "secp384r1mlkem1024": tls.SecP384r1MLKEM1024,
	"prime256v1": tls.CurveP256, "p-256": tls.CurveP256, "secp256r1": tls.CurveP256,
	"secp384r1": tls.CurveP384, "p-384": tls.CurveP384, "secp521r1": tls.CurveP521, "p-521": tls.CurveP521,
}

// defaultCurves is tls_eecdh_auto_curves where nobody has set it. It stands for
// what Go offers, which has the key exchanges that a quantum computer cannot break
// beside these curves.
const defaultCurves = "X25519 X448 prime256v1 secp384r1 secp521r1"

// Groups are the key exchanges of tls_eecdh_auto_curves. There are no others: the
// grades of smtpd_tls_eecdh_grade have no effect in Postfix with an OpenSSL of today
// either.
type Groups struct {
	Auto string `postconf:"tls_eecdh_auto_curves"`
}

// curves gives the key exchanges, nil for those of Go, and the names that Go does
// not know.
func (g *Groups) curves() (ids []tls.CurveID, missing []string, err error) {
	names := splitList(g.Auto)
	if len(names) == 0 || slices.Equal(names, splitList(defaultCurves)) {
		return nil, nil, nil
	}
	for _, name := range names {
		id, ok := curves[strings.ToLower(name)]
		switch {
		case !ok:
			missing = append(missing, name)
		case !slices.Contains(ids, id):
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return nil, nil, &ConfigError{"tls_eecdh_auto_curves", g.Auto, "no key exchange of these is supported"}
	}
	return ids, missing, nil
}
