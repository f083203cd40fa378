package sasl

import (
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"regexp"
	"strconv"
	"strings"

	"github.com/go-crypt/crypt"
	"github.com/go-crypt/crypt/algorithm"
	"github.com/go-crypt/crypt/algorithm/argon2"
	"github.com/go-crypt/crypt/algorithm/bcrypt"
	"github.com/go-crypt/crypt/algorithm/md5crypt"
	"github.com/go-crypt/crypt/algorithm/scrypt"
	"github.com/go-crypt/crypt/algorithm/shacrypt"
)

// newDecoder knows the hashes of crypt(3) that may stand in a table.
func newDecoder() (*crypt.Decoder, error) {
	d := crypt.NewDecoder()
	for _, register := range []func(algorithm.DecoderRegister) error{
		shacrypt.RegisterDecoder, bcrypt.RegisterDecoder, argon2.RegisterDecoder,
		md5crypt.RegisterDecoderCommon, scrypt.RegisterDecoderYescrypt,
	} {
		if err := register(d); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// maxRounds bounds how often a hash function is repeated.
const maxRounds = 10_000_000

// costs are the numbers in a hash that say what it costs to compute, with the
// most that is computed: a mistake in a table must not stop the server.
var costs = [...]struct {
	number *regexp.Regexp
	most   uint64
}{
	{regexp.MustCompile(`^\$argon2.*\$(?:.*,)?m=(\d+)`), 1 << 20}, // KiB
	{regexp.MustCompile(`^\$argon2.*\$(?:.*,)?t=(\d+)`), 1000},
	{regexp.MustCompile(`^\$argon2.*\$(?:.*,)?p=(\d+)`), 64},
	{regexp.MustCompile(`^\$[56]\$rounds=(\d+)`), maxRounds},
	{regexp.MustCompile(`^\$2.?\$(\d+)`), 18},
}

// yescrypt is a hash of yescrypt with as much memory as that of "costs": the
// character behind "j" is the logarithm of it.
var yescrypt = regexp.MustCompile(`^\$y\$j[/0-9A-F][./0-9A-Z]\$`)

var errCost = errors.New("it is too dear to compute")

// affordable tells whether a hash may be computed.
func affordable(hash string) bool {
	for _, c := range costs {
		if m := c.number.FindStringSubmatch(hash); m != nil {
			if n, err := strconv.ParseUint(m[1], 10, 64); err != nil || n > c.most {
				return false
			}
		}
	}
	return !strings.HasPrefix(hash, "$y$") || yescrypt.MatchString(hash)
}

// bcryptLength is how much of a password bcrypt takes; crypt(3) drops the rest.
const bcryptLength = 72

// checkCrypt is for the hashes of crypt(3).
func checkCrypt(v *stored, password string) (bool, error) {
	if !strings.HasPrefix(v.text, v.begins) {
		return false, errForeign
	}
	if !affordable(v.text) {
		return false, errCost
	}
	digest, err := v.crypt.Decode(v.text)
	if err != nil {
		return false, errEncoded // the library's error may quote the hash
	}
	if strings.HasPrefix(v.text, "$2") && len(password) > bcryptLength {
		password = password[:bcryptLength]
	}
	ok, err := digest.MatchAdvanced(password)
	if err != nil {
		return false, errEncoded
	}
	return ok, nil
}

// checkPBKDF2 is for Dovecot's form "$1$SALT$ROUNDS$HEX", with SHA-1.
func checkPBKDF2(v *stored, password string) (bool, error) {
	parts := strings.Split(v.text, "$")
	if len(parts) != 5 || parts[0] != "" || parts[1] != "1" {
		return false, errEncoded
	}
	rounds, err := strconv.Atoi(parts[3])
	if err != nil || rounds < 1 {
		return false, errEncoded
	}
	if rounds > maxRounds {
		return false, errCost
	}
	want, err := hex.DecodeString(parts[4])
	if err != nil || len(want) != sha1.Size {
		return false, errEncoded
	}
	got, err := pbkdf2.Key(sha1.New, password, []byte(parts[2]), rounds, sha1.Size)
	if err != nil {
		return false, errEncoded
	}
	return subtle.ConstantTimeCompare(got, want) == 1, nil
}
