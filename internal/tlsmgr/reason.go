package tlsmgr

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"strings"
)

// Reason says why a chain was not accepted in the words that mail logs have
// used for it, so that what searches them goes on finding it.
func Reason(err error) string {
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &unknown):
		cert := unknown.Cert
		if cert == nil || bytes.Equal(cert.RawIssuer, cert.RawSubject) {
			return "self-signed certificate"
		}
		return "untrusted issuer " + slashName(cert)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		// One reason of the library stands for both ends of the validity.
		if strings.Contains(invalid.Detail, "is before") {
			return "certificate not yet valid"
		}
		return "certificate has expired"
	case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
		return "not designated for use as a server certificate"
	}
	return err.Error()
}

// slashName is the issuer as /C=../O=../CN=...
func slashName(cert *x509.Certificate) string {
	var b strings.Builder
	for _, set := range cert.Issuer.ToRDNSequence() {
		one := pkix.RDNSequence{set}
		b.WriteByte('/')
		b.WriteString(one.String())
	}
	return b.String()
}
