package tlsmgr

import (
	"strings"
	"time"
)

// Settings are the main.cf parameters of the server side of TLS.
type Settings struct {
	// Level is none, may or encrypt; empty stands for UseTLS and EnforceTLS.
	Level      string `postconf:"smtpd_tls_security_level"`
	UseTLS     bool   `postconf:"smtpd_use_tls"`
	EnforceTLS bool   `postconf:"smtpd_enforce_tls"`
	Wrapper    bool   `postconf:"smtpd_tls_wrappermode"`
	// ChainFiles hold keys and certificates together; when set, the pairs of
	// files below are not used.
	ChainFiles []string `postconf:"smtpd_tls_chain_files"`
	CertFile   string   `postconf:"smtpd_tls_cert_file"`
	KeyFile    string   `postconf:"smtpd_tls_key_file"`
	ECCertFile string   `postconf:"smtpd_tls_eccert_file"`
	ECKeyFile  string   `postconf:"smtpd_tls_eckey_file"`
	// Protocols and Ciphers hold for opportunistic TLS, the mandatory ones when
	// TLS is required.
	Protocols          string `postconf:"smtpd_tls_protocols"`
	MandatoryProtocols string `postconf:"smtpd_tls_mandatory_protocols"`
	Ciphers            string `postconf:"smtpd_tls_ciphers"`
	MandatoryCiphers   string `postconf:"smtpd_tls_mandatory_ciphers"`
	Exclude            string `postconf:"smtpd_tls_exclude_ciphers"`
	MandatoryExclude   string `postconf:"smtpd_tls_mandatory_exclude_ciphers"`
	// AskCert asks for a client certificate, RequireCert insists when TLS is
	// required.
	AskCert     bool   `postconf:"smtpd_tls_ask_ccert"`
	RequireCert bool   `postconf:"smtpd_tls_req_ccert"`
	CAFile      string `postconf:"smtpd_tls_CAfile"`
	CAPath      string `postconf:"smtpd_tls_CApath"`
	// AppendCA adds the authorities of the system to those.
	AppendCA bool `postconf:"tls_append_default_CA"`
	// VerifyDepth is how many certificates may stand above that of a client.
	VerifyDepth int `postconf:"smtpd_tls_ccert_verifydepth"`
	// TrustServerCerts takes the certificates of servers for clients too.
	TrustServerCerts bool `postconf:"tls_trust_server_ccerts"`
	// High and Medium are the cipher lists of the grades.
	High   string `postconf:"tls_high_cipherlist"`
	Medium string `postconf:"tls_medium_cipherlist"`
	Groups
	// Options are those of OpenSSL.
	Options string `postconf:"tls_ssl_options"`
	// TicketTime is how long a session can be resumed, zero for not at all; an
	// empty TicketCipher means the same.
	TicketTime   time.Duration `postconf:"smtpd_tls_session_cache_timeout"`
	TicketCipher string        `postconf:"tls_session_ticket_cipher"`
	// Digest is the hash of certificate fingerprints.
	Digest string `postconf:"smtpd_tls_fingerprint_digest"`
	// SNIMaps are tables of certificates by the name that a client asks for.
	SNIMaps []string `postconf:"tls_server_sni_maps"`
	// Read reads the files; nil is the process itself.
	Read ReadFile
	// Names looks a name up in SNIMaps; nil looks nowhere.
	Names NameLookup
	// Warn takes complaints about certificates while the server runs; nil is
	// silent.
	Warn func(format string, args ...any)
}

func (s *Settings) warnf(format string, args ...any) {
	if s.Warn != nil {
		s.Warn(format, args...)
	}
}

// Level is how much TLS matters to one side of a connection.
type Level uint8

// The levels, weakest first. The server knows the first three.
const (
	LevelNone Level = iota
	LevelMay
	LevelEncrypt
	LevelFingerprint
	LevelVerify
	LevelSecure
)

// levels are the names of the levels in main.cf, in the order of the constants.
var levels = [...]string{"none", "may", "encrypt", "fingerprint", "verify", "secure"}

// String names the level as main.cf does.
func (l Level) String() string { return levels[l] }

// ParseLevel reads the name of a level.
func ParseLevel(s string) (Level, bool) {
	for i, name := range levels {
		if strings.EqualFold(s, name) {
			return Level(i), true
		}
	}
	return LevelNone, false
}

// ServerLevel is the level that the settings ask for. With TLS around the
// whole session there is no session without TLS.
func (s *Settings) ServerLevel() (Level, error) {
	level := LevelNone
	switch {
	case s.Level != "":
		l, ok := ParseLevel(s.Level)
		if strings.EqualFold(s.Level, "dane") || strings.EqualFold(s.Level, "dane-only") {
			l, ok = LevelEncrypt, true
		}
		if !ok {
			return LevelNone, &ConfigError{"smtpd_tls_security_level", s.Level, "not one of none, may, encrypt"}
		}
		// Postfix treats levels that make sense for clients only as encrypt.
		level = min(l, LevelEncrypt)
	case s.EnforceTLS:
		level = LevelEncrypt
	case s.UseTLS:
		level = LevelMay
	}
	if s.Wrapper {
		level = LevelEncrypt
	}
	return level, nil
}

// ConfigError is a parameter whose value cannot be used.
type ConfigError struct{ Parameter, Value, Why string }

// Error implements error.
func (e *ConfigError) Error() string {
	if e.Value == "" {
		return e.Parameter + ": " + e.Why
	}
	return e.Parameter + " = " + e.Value + ": " + e.Why
}
