package sasl

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strings"

	"github.com/go-crypt/crypt"
	"github.com/go-crypt/crypt/algorithm"
)

// scheme is a row of the list of password schemes, which are Dovecot's.
type scheme struct {
	name string
	// check compares a password with the stored value behind its {SCHEME}. An
	// error means that the stored value is not of the scheme.
	check func(v *stored, password string) (bool, error)
	// digest marks schemes that are a digest of the password, salted those with
	// a salt behind it; hash is their hash function.
	digest, salted bool
	hash           func() hash.Hash
	// begins is how a hash of crypt(3) begins; empty is any that is known.
	begins string
}

// schemes has one row per scheme.
var schemes = [...]scheme{
	{name: "PLAIN", check: checkPlain}, {name: "CLEAR", check: checkPlain}, {name: "CLEARTEXT", check: checkPlain},
	{name: "CRYPT", check: checkCrypt}, {name: "MD5-CRYPT", check: checkCrypt, begins: "$1$"},
	{name: "SHA256-CRYPT", check: checkCrypt, begins: "$5$"}, {name: "SHA512-CRYPT", check: checkCrypt, begins: "$6$"},
	{name: "BLF-CRYPT", check: checkCrypt, begins: "$2"},
	{name: "ARGON2I", check: checkCrypt, begins: "$argon2i$"}, {name: "ARGON2ID", check: checkCrypt, begins: "$argon2id$"},
	{name: "SHA", check: checkDigest, digest: true, hash: sha1.New}, {name: "SHA1", check: checkDigest, digest: true, hash: sha1.New},
	{name: "SHA256", check: checkDigest, digest: true, hash: sha256.New}, {name: "SHA512", check: checkDigest, digest: true, hash: sha512.New},
	{name: "SSHA", check: checkDigest, digest: true, salted: true, hash: sha1.New},
	{name: "SSHA256", check: checkDigest, digest: true, salted: true, hash: sha256.New},
	{name: "SSHA512", check: checkDigest, digest: true, salted: true, hash: sha512.New},
	{name: "SMD5", check: checkDigest, digest: true, salted: true, hash: md5.New},
	{name: "MD5", check: checkMD5, hash: md5.New, begins: "$1$"},
	{name: "PLAIN-MD5", check: checkDigest, digest: true, hash: md5.New}, {name: "LDAP-MD5", check: checkDigest, digest: true, hash: md5.New},
	{name: "PBKDF2", check: checkPBKDF2},
	{name: "SCRAM-SHA-1", check: checkSCRAM, hash: sha1.New}, {name: "SCRAM-SHA-256", check: checkSCRAM, hash: sha256.New},
}

// Errors of stored passwords; they do not tell the value.
var (
	errScheme  = errors.New("stored password has no known {SCHEME}")
	errEncoded = errors.New("its text cannot be decoded")
	errForeign = errors.New("it is a hash of another kind")
)

// stored is a stored password, taken apart.
type stored struct {
	*scheme
	// text is what stands behind {SCHEME}, with an encoding suffix of a scheme
	// that is text decoded.
	text string
	// encoding is the suffix of the scheme: hex, b64 or nothing.
	encoding string
	crypt    *crypt.Decoder
	// digested is the hash of crypt(3), when it was decoded.
	digested algorithm.Digest
}

// parseStored takes a value like "{SSHA.hex}0123" apart. A value that begins with
// "$" is a hash of crypt(3) without its scheme.
func parseStored(d *crypt.Decoder, value string) (*stored, error) {
	name, rest, ok := "CRYPT", value, true
	if !strings.HasPrefix(value, "$") {
		if value, ok = strings.CutPrefix(value, "{"); ok {
			name, rest, ok = strings.Cut(value, "}")
		}
		if !ok {
			return nil, errScheme
		}
	}
	name, encoding, _ := strings.Cut(strings.ToUpper(name), ".")
	v := &stored{text: rest, crypt: d}
	switch encoding {
	case "", "HEX", "B64":
		v.encoding = encoding
	case "BASE64":
		v.encoding = "B64"
	default:
		return nil, errScheme
	}
	for i := range schemes {
		if schemes[i].name == name {
			v.scheme = &schemes[i]
			return v, v.plain()
		}
	}
	return nil, errScheme
}

// plain undoes the encoding of a value that is text when it is not encoded.
func (v *stored) plain() error {
	if v.encoding == "" || v.digest {
		return nil
	}
	raw, err := decodeBytes(v.text, v.encoding)
	if err != nil {
		return fmt.Errorf("stored password of scheme {%s}: %w", v.name, errEncoded)
	}
	v.text, v.encoding = string(raw), ""
	return nil
}

func decodeBytes(text, encoding string) ([]byte, error) {
	if encoding == "HEX" {
		return hex.DecodeString(text)
	}
	return base64.StdEncoding.DecodeString(text)
}

// matches compares a password. The time does not depend on where they differ.
func (v *stored) matches(password string) (bool, error) {
	ok, err := v.check(v, password)
	if err != nil {
		return false, fmt.Errorf("stored password of scheme {%s}: %w", v.name, err)
	}
	return ok, nil
}

// cleartext returns the password itself where the scheme keeps it.
func (v *stored) cleartext() (string, bool) {
	switch v.name {
	case "PLAIN", "CLEAR", "CLEARTEXT":
		return v.text, true
	}
	return "", false
}

func checkPlain(v *stored, password string) (bool, error) {
	// Equal lengths for the comparison, so that the length is no secret given away.
	a, b := sha256.Sum256([]byte(v.text)), sha256.Sum256([]byte(password))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1, nil
}

// checkDigest is for a digest of the password and of the salt that follows the
// digest in the stored value.
func checkDigest(v *stored, password string) (bool, error) {
	h := v.hash()
	size, encoding := h.Size(), v.encoding
	if encoding == "" && !v.salted && len(v.text) == 2*size {
		encoding = "HEX" // no base64 of a digest is that long
	}
	raw, err := decodeBytes(v.text, encoding)
	if err != nil || len(raw) < size || !v.salted && len(raw) != size {
		return false, errEncoded
	}
	_, _ = h.Write([]byte(password)) // never fails
	_, _ = h.Write(raw[size:])
	return subtle.ConstantTimeCompare(h.Sum(nil), raw[:size]) == 1, nil
}

// checkMD5 is for {MD5}, which stands for a hash of crypt(3) in Dovecot and for a
// digest in LDAP.
func checkMD5(v *stored, password string) (bool, error) {
	if strings.HasPrefix(v.text, v.begins) {
		return checkCrypt(v, password)
	}
	return checkDigest(v, password)
}
