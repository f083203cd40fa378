package postconf

import (
	"reflect"
	"slices"
	"sort"
	"strings"
)

// Release is the release of Postfix whose parameters and defaults the rows hold.
const Release = "3.11.6"

// Type says how the value of a parameter is read.
type Type byte

// The types of values.
const (
	String Type = iota // text; Min and Max bound its length
	Raw                // text whose $names are expanded later, per message
	Bool               // yes or no
	Int                // 32 bit
	Long               // 64 bit
	Time               // a number and perhaps one of s, m, h, d, w
)

// String returns the name of the type.
func (t Type) String() string {
	return [...]string{"string", "raw", "bool", "int", "long", "time"}[t]
}

// Status says what became of a parameter in this server.
type Status byte

// The states of a parameter. Implemented is not written in a row: a parameter is
// implemented exactly when some Settings struct decodes it, see StatusIn.
const (
	Planned     Status = iota // known and accepted; nothing reads it yet
	Implemented               // read, with Postfix's meaning
	Different                 // accepted without effect, for the Reason given
)

// String returns the name of the state.
func (s Status) String() string {
	return [...]string{"planned", "implemented", "different"}[s]
}

// The reasons why a parameter is accepted but does nothing.
const (
	oneProcess   = "all mail work is done in one process, so there is no other process to limit, to start or to speak to"
	oneBinary    = "there is one program and no installation directory of several"
	ownFormats   = "table files are read and written without the database library that this tunes"
	ownQueue     = "the queue has a layout of its own"
	goRandom     = "random numbers come from the operating system"
	inMemory     = "TLS sessions are remembered in memory"
	goTLS        = "the TLS library decides this itself"
	noDSA        = "the TLS library has no DSA certificates"
	noDHE        = "the TLS library has no finite-field Diffie-Hellman; clients use elliptic curves"
	noNull       = "the TLS library has no suites without encryption"
	noRPK        = "the TLS library has no raw public keys"
	noOpenSSL    = "the TLS library is not OpenSSL and has no settings of its own"
	ownOrder     = "the TLS library always prefers the safest suite that both sides have, whatever the client prefers"
	autoCurves   = "key exchanges are those of tls_eecdh_auto_curves, as in Postfix with an OpenSSL of today"
	tickets      = "sessions are resumed by tickets, and nothing is stored"
	formerGrades = "the grades below medium stand for medium"
	noCyrus      = "the Cyrus SASL library is not part of this server"
	noComsat     = "nobody is told of new mail by the comsat protocol"
	kernelLocks  = "mailboxes are always locked as mailbox_delivery_lock says"
	ownSchedule  = "waiting mail is tried when its time has come, and not at the next look at all of it"
	ownTurns     = "messages for a destination take turns, so that a large one is never in the way and need not be pre-empted"
	ownActive    = "waiting recipients stay in the index on disk, and qmgr_message_active_limit alone bounds what is in memory"
	noFlow       = "new mail and deliveries share one log instead of a directory, so new mail is never held back"
	noFaults     = "it exists to test Postfix itself"
	tableWaits   = "a table that cannot be opened defers the mail that needs it, and is tried again"
	onePID       = "the file is pid/master.pid below the queue directory"
	knownPorts   = "these names are always known; others are those of the system"
	noQMQP       = "there is no QMQP server: the service is named at the start, and nobody listens for it"
	ownResolver  = "the resolver reads the lifetime of negative answers itself"
	oneLevel     = "the log shows the dialogue with a host of debug_peer_list, the same at any level"
	ownHeaders   = "header_size_limit bounds the addresses of a header, which are read in proportion to its length"
)

// missed are the reasons that may leave a site without something that it counts on;
// for the others nothing has to be done.
var missed = []string{noDSA, noNull, noRPK, noQMQP, noCyrus}

// Missed tells, of a parameter that is treated differently, that a site which sets
// it should know.
func (p *Param) Missed() bool { return slices.Contains(missed, p.Reason) }

// Param is one parameter. For String, Min and Max bound the length in bytes, for
// numbers the value (in seconds for Time); zero means no bound.
type Param struct {
	// Name is the name, or the ending of the name for TRANSPORT_ parameters.
	Name string
	// Default is the built-in value with its $names not expanded. It is empty
	// for the parameters that are computed, see computed.go.
	Default string
	Type    Type
	// Unit is the unit of a time that is given without one.
	Unit     byte
	Min, Max int64
	Status   Status
	// Reason says why the status is Different.
	Reason string
}

// StatusIn returns the status of p when the Settings structs of the server decode
// the names in tagged.
func (p *Param) StatusIn(tagged map[string]bool) Status {
	if tagged[p.Name] {
		return Implemented
	}
	return p.Status
}

// builtinRows are the tables of built-in parameters; each is in the order of bytes
// and so is their sequence.
var builtinRows = [...][]Param{rowsAtoD, rowsEtoL, rowsMtoR, rowsS, rowsTtoZ}

// Params calls f for each built-in parameter, in the order of names.
func Params(f func(*Param)) {
	for _, rows := range &builtinRows {
		for i := range rows {
			f(&rows[i])
		}
	}
}

// Find returns the row of a name: a built-in parameter, a legacy name, a name of
// the next release, or a name formed from the name of a transport.
func Find(name string) (*Param, bool) {
	if p := findBuiltin(name); p != nil {
		return p, true
	}
	if p := findIn(rowsLegacy, name); p != nil {
		return p, true
	}
	if p := findIn(rowsLater, name); p != nil {
		return p, true
	}
	if p := findIn(rowsOurs, name); p != nil {
		return p, true
	}
	return findSuffix(name)
}

// findBuiltin returns the row of a built-in parameter, or nil.
func findBuiltin(name string) *Param {
	for _, rows := range &builtinRows {
		if name <= rows[len(rows)-1].Name {
			return findIn(rows, name)
		}
	}
	return nil
}

// findIn returns the row of that name in a sorted table, or nil.
func findIn(rows []Param, name string) *Param {
	i := sort.Search(len(rows), func(i int) bool { return rows[i].Name >= name })
	if i < len(rows) && rows[i].Name == name {
		return &rows[i]
	}
	return nil
}

// findSuffix returns a row for a name that is formed from the name of a service.
func findSuffix(name string) (*Param, bool) {
	for i := range rowsSuffix {
		p := &rowsSuffix[i]
		if len(name) > len(p.Name) && strings.HasSuffix(name, p.Name) {
			q := *p
			q.Name = name
			return &q, true
		}
	}
	return nil, false
}

// Legacy reports whether name is a former name that is still read.
func Legacy(name string) bool { return findIn(rowsLegacy, name) != nil }

// Suffixes returns the endings from which parameters of a transport are formed.
func Suffixes() []string {
	out := make([]string, len(rowsSuffix))
	for i := range rowsSuffix {
		out[i] = rowsSuffix[i].Name
	}
	return out
}

// Tagged returns the names that the given Settings structs (or pointers to them)
// decode. A struct whose tags say "lmtp" stands for the lmtp_ names too.
func Tagged(settings ...any) map[string]bool {
	names := map[string]bool{}
	for _, s := range settings {
		t := reflect.TypeOf(s)
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		walkTags(t, func(_ []int, tag tag) {
			names[tag.name] = true
			if tag.lmtp {
				names[lmtpName(tag.name)] = true
			}
		})
	}
	return names
}
