package postconf

import (
	"fmt"

	"golang.org/x/net/idna"
)

// domainToASCII returns the form of a domain name that DNS knows.
func domainToASCII(domain string) (string, error) {
	if isASCII(domain) {
		return domain, nil
	}
	ascii, err := idna.Lookup.ToASCII(domain)
	if err != nil {
		return "", fmt.Errorf("domain_to_ascii: bad domain name \"%s\": %v", clip(domain), err)
	}
	return ascii, nil
}

// isASCII reports whether s has no byte above 127.
func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
