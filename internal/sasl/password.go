package sasl

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"

	"github.com/go-crypt/crypt"
	"github.com/go-crypt/crypt/algorithm"
	"github.com/go-crypt/crypt/algorithm/argon2"
	"github.com/go-crypt/crypt/algorithm/bcrypt"
	"github.com/go-crypt/crypt/algorithm/shacrypt"
)

// schemes are the {SCHEME} prefixes of stored passwords, with the beginning
// that the hash behind them must have; empty stands for any known hash.
var schemes = [...]struct{ name, begins string }{
	{"SHA512-CRYPT", "$6$"}, {"SHA256-CRYPT", "$5$"}, {"BLF-CRYPT", "$2"},
	{"ARGON2ID", "$argon2id$"}, {"ARGON2I", "$argon2i$"}, {"CRYPT", ""},
}

// newDecoder knows the hashes that may stand in a table. Weak ones are left out.
func newDecoder() (*crypt.Decoder, error) {
	d := crypt.NewDecoder()
	for _, register := range []func(algorithm.DecoderRegister) error{
		shacrypt.RegisterDecoder, bcrypt.RegisterDecoder, argon2.RegisterDecoder,
	} {
		if err := register(d); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// errScheme means that a stored value cannot be understood; it does not tell
// the value.
var errScheme = errors.New("stored password has no known {SCHEME}")

// checkPassword compares a password with a stored value. The time does not
// depend on where they differ.
func checkPassword(d *crypt.Decoder, stored, password string) (bool, error) {
	name, hash, ok := splitScheme(stored)
	if !ok {
		return false, errScheme
	}
	if name == "PLAIN" {
		// Equal lengths for the comparison, so that the length is no secret given away.
		a, b := sha256.Sum256([]byte(hash)), sha256.Sum256([]byte(password))
		return subtle.ConstantTimeCompare(a[:], b[:]) == 1, nil
	}
	for _, s := range schemes {
		if s.name != name {
			continue
		}
		if !strings.HasPrefix(hash, s.begins) {
			return false, fmt.Errorf("stored password is not of its scheme {%s}", s.name)
		}
		digest, err := d.Decode(hash)
		if err != nil {
			// The library's error may quote the hash.
			return false, fmt.Errorf("stored password of scheme {%s} cannot be decoded", s.name)
		}
		match, err := digest.MatchAdvanced(password)
		if err != nil {
			return false, fmt.Errorf("stored password of scheme {%s} cannot be compared", s.name)
		}
		return match, nil
	}
	return false, errScheme
}

// splitScheme takes "{SCHEME}rest" apart. A value that begins with "$" is a
// crypt hash without its scheme.
func splitScheme(stored string) (name, rest string, ok bool) {
	if strings.HasPrefix(stored, "$") {
		return "CRYPT", stored, true
	}
	if !strings.HasPrefix(stored, "{") {
		return "", "", false
	}
	name, rest, ok = strings.Cut(stored[1:], "}")
	name = strings.ToUpper(name)
	if name == "CLEAR" || name == "CLEARTEXT" {
		name = "PLAIN"
	}
	return name, rest, ok
}
