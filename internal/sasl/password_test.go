package sasl

import (
	"strings"
	"testing"

	"github.com/go-crypt/crypt"
)

// hashes are of the password "secret pass", made by doveadm pw, perl's crypt and
// Python's hashlib.
var hashes = map[string]string{
	"md5":           "{MD5}$1$E36dmQzo$hcRbvU4vj4V96SEf9X26G1",
	"md5 digest":    "{MD5}22f4b364f64ba82fb711358ef2617983",
	"md5 base64":    "{MD5}IvSzZPZLqC+3ETWO8mF5gw==",
	"md5-crypt":     "{MD5-CRYPT}$1$b7XWTgyC$FhNtKHmPvoOlOBL4FS4hb1",
	"crypt":         "{CRYPT}$2y$05$e5RZFpfzxQrt3.rZMlPk8e1Ab5JQ5.eBYjnDAmi58orER2HO.9.um",
	"crypt md5":     "{crypt}$1$b7XWTgyC$FhNtKHmPvoOlOBL4FS4hb1",
	"yescrypt":      "$y$j9T$abcdefghijklmnop$AK5xBcEob5LG9KSpHe.hLSdRtQScd1rN40.Akq2D7RA",
	"plain-md5":     "{PLAIN-MD5}22f4b364f64ba82fb711358ef2617983",
	"ldap-md5":      "{LDAP-MD5}IvSzZPZLqC+3ETWO8mF5gw==",
	"smd5":          "{SMD5}3h5XYH7A33ZRuVqw70AyZEYIWmA=",
	"sha":           "{SHA}O1hAcUlX7zkBbV+/3rmbDfUlbNM=",
	"sha1":          "{SHA1}O1hAcUlX7zkBbV+/3rmbDfUlbNM=",
	"sha256":        "{SHA256}eFK/tJPBgOyZKGDD9C7Y/PoQTL9IBeTfYFheYwo3OI8=",
	"sha512":        "{SHA512}lZ9yMft8fVHVJ+UzMKOj5CsbrM1iI0VwhldS4yvUgbjJWfSIKEZ5z02LkV6f3caZMpOHkByhFdL2tZ3hPvxlhA==",
	"ssha":          "{SSHA}7/Tt7KnZAtRsPt26RcPgSy41erF88Xgw",
	"ssha256":       "{SSHA256}Pe5XzEcenZXOXXzjmnzuT7zWybMSyaV/uLcFtK+mSfiqpvUy",
	"ssha512":       "{SSHA512}HsVt0o9JEMBKh4ilDsy2oTBDrEN/r1ath2Sf7kQ5RhlRIAZbujkhZrgZqEPRT91dl2D3R5rtTeQaUjrNeA0iQi4MwxE=",
	"sha256-crypt":  "{SHA256-CRYPT}$5$yZsonWAe78BwYa1g$GDopGDtCV2xfpD72L8smv5Ro9PZl9n1Z6j1.fSLrX92",
	"blf-crypt":     "{BLF-CRYPT}$2y$05$yGuGiyayr2iaJvKD.jJXceNs/u3KVFk6SpJYcB.ytFhG7IYL4lnA.",
	"argon2id":      "{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$CCXjnmCr3CLWq6WSOnh3LQ$SupcCGESrBbzIS/KkpGOHmbDP47r434JxUowMLuwuY0",
	"pbkdf2":        "{PBKDF2}$1$M4E9nJHsE7wuE5J3$5000$66b7c5d68b47aab15c6c0291348e725cf9414c3f",
	"scram-sha-1":   "{SCRAM-SHA-1}4096,XEFYrFd6kLVFHlO/B1UxsA==,B05zVkJLaxTRy5+5mn6ROfX0Fuw=,1GgW/w9lg2bDu3yjJDXyEfAuY8I=",
	"scram-sha-256": "{SCRAM-SHA-256}4096,5R9V9dG0Vq8hf7RIpuZGtg==,43TmmoiS1TC5O3qmuEYlEb89cKan5gwUOvOj6aN/1VU=,NsaK/hFPrGd2HApSqB1wM6CZvv9w44U6cVxY46U40DI=",
	"ssha.hex":      "{SSHA.HEX}1a890409aa50026ea53a6c8e8c15745bd5841f81b926d5c2",
	"sha256.hex":    "{sha256.hex}7852bfb493c180ec992860c3f42ed8fcfa104cbf4805e4df60585e630a37388f",
	"sha256 as hex": "{SHA256}7852bfb493c180ec992860c3f42ed8fcfa104cbf4805e4df60585e630a37388f",
	"sha.b64":       "{SHA.B64}O1hAcUlX7zkBbV+/3rmbDfUlbNM=",
	"plain.b64":     "{PLAIN.B64}c2VjcmV0IHBhc3M=",
	"plain.hex":     "{PLAIN.HEX}7365637265742070617373",
	"crypt.b64":     "{SHA512-CRYPT.b64}JDYkeGQzOWNnRmlFQ1BZbFBtLiRWYTJYanh1U1dTWGVCUnFsaEhKajJnTkRrS3V6ZERYZm1EcnhWb1l1Y0pmSWdaemY3QXdySUdoTm9JcW9pWVUyS3hXckdubWJoTk5idS54a2NSYzljMQ==",
	"clear":         "{CLEAR}secret pass",
}

// checkPassword compares a password with a stored value.
func checkPassword(d *crypt.Decoder, value, password string) (bool, error) {
	v, err := parseStored(d, value)
	if err != nil {
		return false, err
	}
	if _, err := v.memory(); err != nil {
		return false, err
	}
	return v.matches(password)
}

func TestSchemes(t *testing.T) {
	t.Parallel()
	d, err := newDecoder()
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range hashes {
		for password, want := range map[string]bool{"secret pass": true, "secret pas": false, "": false} {
			if ok, err := checkPassword(d, value, password); ok != want || err != nil {
				t.Errorf("%s with %q: %v, %v", name, password, ok, err)
			}
		}
	}
	long := strings.Repeat("x", 100)
	const ofLong = "{BLF-CRYPT}$2y$05$e5RZFpfzxQrt3.rZMlPk8e1Ab5JQ5.eBYjnDAmi58orER2HO.9.um"
	if ok, err := checkPassword(d, ofLong, long); ok || err != nil {
		t.Errorf("a long password for bcrypt: %v, %v", ok, err)
	}
}

// TestBadSchemes: what cannot be understood is an error and no wrong password,
// and the error does not tell it.
func TestBadSchemes(t *testing.T) {
	t.Parallel()
	d, err := newDecoder()
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range []string{
		"", "secret", "{}secret", "{PLAIN", "{ROT13}secret", "{PLAIN.rot13}secret", "{PLAIN.b64}*", "{PLAIN.hex}xyz", "{SHA}c2VjcmV0", "{SSHA}c2VjcmV0",
		"{SHA256.hex}secret", "{MD5}secret", "{MD5-CRYPT}secret", "{CRYPT}secret", "{CRYPT}$9$secret", "{SHA512-CRYPT}$5$secret",
		"{SHA512-CRYPT}$6$rounds=999999999$secret$secret", "{BLF-CRYPT}$2y$31$e5RZFpfzxQrt3.rZMlPk8e1Ab5JQ5.eBYjnDAmi58orER2HO.9.um",
		"{ARGON2ID}$argon2id$v=19$m=99999999,t=3,p=1$CCXjnmCr3CLWq6WSOnh3LQ$SupcCGESrBbzIS/KkpGOHmbDP47r434JxUowMLuwuY0",
		"{ARGON2ID}$argon2id$v=19$m=65536,t=99999,p=1$CCXjnmCr3CLWq6WSOnh3LQ$SupcCGESrBbzIS/KkpGOHmbDP47r434JxUowMLuwuY0",
		"{ARGON2ID}$argon2id$v=19$m=1048576,t=1,p=1$CCXjnmCr3CLWq6WSOnh3LQ$SupcCGESrBbzIS/KkpGOHmbDP47r434JxUowMLuwuY0", // 1 GB
		"{ARGON2ID}$argon2id$v=19$m=262144,t=17,p=1$CCXjnmCr3CLWq6WSOnh3LQ$SupcCGESrBbzIS/KkpGOHmbDP47r434JxUowMLuwuY0",
		"{ARGON2ID}$argon2id$v=19$m=64,t=1,p=65$CCXjnmCr3CLWq6WSOnh3LQ$SupcCGESrBbzIS/KkpGOHmbDP47r434JxUowMLuwuY0",
		"{ARGON2ID}$argon2id$v=19$t=1,m=4000000000,p=1$CCXjnmCr3CLWq6WSOnh3LQ$SupcCGESrBbzIS/KkpGOHmbDP47r434JxUowMLuwuY0",
		"{ARGON2ID}$argon2id$v=19$m=64,t=1,p=1$CCXjnmCr3CLWq6WSOnh3LQ$SupcCA", // of a hash of four bytes one is guessed soon
		"{CRYPT}$y$j//$abc$AK5", "$y$jFT$abcdefghijklmnop$AK5xBcEob5LG9KSpHe.hLSdRtQScd1rN40.Akq2D7RA", "{BLF-CRYPT}$2y$17$e5RZFpfzxQrt3.rZMlPk8e1Ab5JQ5.eBYjnDAmi58orER2HO.9.um",
		"$y$jzT$abcdefghijklmnop$AK5xBcEob5LG9KSpHe.hLSdRtQScd1rN40.Akq2D7RA",
		"{PBKDF2}secret", "{PBKDF2}$1$secret$x$00", "{PBKDF2}$1$secret$99999999999$00", "{PBKDF2}$1$secret$99999999$66b7c5d68b47aab15c6c0291348e725cf9414c3f", "{PBKDF2}$1$secret$1$00",
		"{SCRAM-SHA-1}secret", "{SCRAM-SHA-1}x,YQ==,YQ==,YQ==", "{SCRAM-SHA-1}4096,*,*,*", "{SCRAM-SHA-256}4096,YQ==,YQ==,YQ==", "{SCRAM-SHA-1}99999999,YQ==,YQ==,YQ==",
	} {
		ok, err := checkPassword(d, value, "secret")
		if ok || err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v, %v", value, ok, err)
		}
	}
}

func FuzzScheme(f *testing.F) {
	for name, value := range hashes {
		if !strings.Contains(name, "argon") && !strings.Contains(name, "yescrypt") {
			f.Add(value)
		}
	}
	f.Add("{PLAIN.b64}*")
	d, err := newDecoder()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if len(value) > 300 || strings.Contains(value, "$argon") || strings.Contains(value, "$y$") || strings.Contains(strings.ToUpper(value), "B64") {
			return // dear, though bounded
		}
		v, err := parseStored(d, value)
		if err != nil {
			return
		}
		if text, plain := v.cleartext(); plain {
			if ok, err := v.matches(text); !ok || err != nil {
				t.Errorf("%q does not match itself: %v", value, err)
			}
			return
		}
		if v.digest {
			_, _ = v.matches("x")
		}
		if memory, err := v.memory(); memory > maxMemory || err != nil && memory != 0 {
			t.Errorf("%q: %d KiB, %v", value, memory, err)
		}
		_, _ = parseSCRAM(v.text, 20)
	})
}
