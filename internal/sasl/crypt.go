package sasl

import (
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
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

// Bounds of what a hash may cost to compute: a mistake in a table must not stop
// the server.
const (
	maxRounds = 10_000_000 // repetitions of a hash function
	maxMemory = 256 << 10  // KiB
	// maxPasses is how much memory is written in all, in KiB.
	maxPasses  = 16 * maxMemory
	maxThreads = 64
	maxBcrypt  = 16 // the logarithm of the rounds
	// minKey is how much of a hash must be there, in bytes: less is guessed.
	minKey = 16
)

var (
	errCost = errors.New("it is too dear to compute")
	// The numbers of a hash, as the library writes what it has understood.
	argon2Cost   = regexp.MustCompile(`^\$argon2\w+\$v=\d+\$m=(\d+),t=(\d+),p=(\d+)\$`)
	shaCost      = regexp.MustCompile(`^\$[56]\$rounds=(\d+)\$`)
	bcryptCost   = regexp.MustCompile(`^\$2.?\$(\d+)\$`)
	yescryptCost = regexp.MustCompile(`^\$y\$j([./0-9A-Za-z])([./0-9A-Za-z])\$`)
)

// price tells how much memory in KiB the hash needs that a text stands for.
func price(hash string) (memory uint64, err error) {
	number := func(text string) uint64 {
		n, err := strconv.ParseUint(text, 10, 63)
		if err != nil {
			return 1 << 62 // more than anything is allowed
		}
		return n
	}
	switch {
	case strings.HasPrefix(hash, "$argon2"):
		m := argon2Cost.FindStringSubmatch(hash)
		if m == nil {
			return 0, errEncoded
		}
		memory, passes, threads := number(m[1]), number(m[2]), number(m[3])
		if memory > maxMemory || passes > maxPasses || memory*passes > maxPasses || threads > maxThreads {
			return 0, errCost
		}
		return memory, nil
	case strings.HasPrefix(hash, "$y$"):
		// The digits are logarithm of the blocks and size of a block, both less one.
		m := yescryptCost.FindStringSubmatch(hash)
		if m == nil {
			return 0, errCost
		}
		memory = (cryptDigit(m[2]) + 1) << (cryptDigit(m[1]) + 1) / 8 // 128 bytes each
		if cryptDigit(m[1]) > 24 || memory > maxMemory {
			return 0, errCost
		}
		return memory, nil
	}
	for _, row := range []struct {
		number *regexp.Regexp
		most   uint64
	}{{shaCost, maxRounds}, {bcryptCost, maxBcrypt}} {
		if m := row.number.FindStringSubmatch(hash); m != nil && number(m[1]) > row.most {
			return 0, errCost
		}
	}
	return 0, nil
}

// cryptDigit is the value of a digit of crypt(3).
func cryptDigit(c string) uint64 {
	return uint64(strings.Index("./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", c))
}

// bcryptLength is how much of a password bcrypt takes; crypt(3) drops the rest.
const bcryptLength = 72

// hashed decodes a hash of crypt(3), once.
func (v *stored) hashed() (algorithm.Digest, error) {
	if v.digested != nil {
		return v.digested, nil
	}
	if !strings.HasPrefix(v.text, v.begins) {
		return nil, errForeign
	}
	digest, err := v.crypt.Decode(v.text)
	if err != nil || len(digest.Key()) < minKey {
		return nil, errEncoded // the library's error may quote the hash
	}
	v.digested = digest
	return digest, nil
}

// memory tells how much memory in KiB it costs to compare a password.
func (v *stored) memory() (uint64, error) {
	if !v.usesCrypt() {
		return 0, nil
	}
	digest, err := v.hashed()
	if err != nil {
		return 0, fmt.Errorf("stored password of scheme {%s}: %w", v.name, err)
	}
	memory, err := price(digest.Encode())
	if err != nil {
		return 0, fmt.Errorf("stored password of scheme {%s}: %w", v.name, err)
	}
	return memory, nil
}

// usesCrypt tells whether the value is a hash of crypt(3).
func (v *stored) usesCrypt() bool {
	return v.begins != "" && (v.name != "MD5" || strings.HasPrefix(v.text, v.begins)) || v.name == "CRYPT"
}

// checkCrypt is for the hashes of crypt(3).
func checkCrypt(v *stored, password string) (bool, error) {
	digest, err := v.hashed()
	if err != nil {
		return false, err
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
