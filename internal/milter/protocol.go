package milter

import "strings"

// Commands to a filter.
const (
	cmdAbort     = 'A'
	cmdBody      = 'B'
	cmdConnect   = 'C'
	cmdMacro     = 'D'
	cmdEndOfBody = 'E'
	cmdHelo      = 'H'
	cmdHeader    = 'L'
	cmdMail      = 'M'
	cmdEndOfHead = 'N'
	cmdNegotiate = 'O'
	cmdQuit      = 'Q'
	cmdRcpt      = 'R'
	cmdData      = 'T'
	cmdUnknown   = 'U'
)

// Replies of a filter.
const (
	replyAddRcpt    = '+'
	replyDelRcpt    = '-'
	replyAddRcptArg = '2'
	replyShutdown   = '4'
	replyAccept     = 'a'
	replyBody       = 'b'
	replyContinue   = 'c'
	replyDiscard    = 'd'
	replyChangeFrom = 'e'
	replyConnFail   = 'f'
	replyAddHeader  = 'h'
	replyInsHeader  = 'i'
	replyChgHeader  = 'm'
	replyProgress   = 'p'
	replyQuarantine = 'q'
	replyReject     = 'r'
	replySkip       = 's'
	replyTempfail   = 't'
	replyCode       = 'y'
)

// commandNames and replyNames are what the log calls them.
var (
	commandNames = map[byte]string{
		cmdAbort: "SMFIC_ABORT", cmdBody: "SMFIC_BODY", cmdConnect: "SMFIC_CONNECT", cmdMacro: "SMFIC_MACRO",
		cmdEndOfBody: "SMFIC_BODYEOB", cmdHelo: "SMFIC_HELO", cmdHeader: "SMFIC_HEADER", cmdMail: "SMFIC_MAIL",
		cmdEndOfHead: "SMFIC_EOH", cmdNegotiate: "SMFIC_OPTNEG", cmdQuit: "SMFIC_QUIT", cmdRcpt: "SMFIC_RCPT",
		cmdData: "SMFIC_DATA", cmdUnknown: "SMFIC_UNKNOWN",
	}
	replyNames = map[byte]string{
		replyAddRcpt: "SMFIR_ADDRCPT", replyDelRcpt: "SMFIR_DELRCPT", replyAddRcptArg: "SMFIR_ADDRCPT_PAR",
		replyShutdown: "SMFIR_SHUTDOWN", replyAccept: "SMFIR_ACCEPT", replyBody: "SMFIR_REPLBODY", replyContinue: "SMFIR_CONTINUE",
		replyDiscard: "SMFIR_DISCARD", replyChangeFrom: "SMFIR_CHGFROM", replyConnFail: "SMFIR_CONN_FAIL",
		replyAddHeader: "SMFIR_ADDHEADER", replyInsHeader: "SMFIR_INSHEADER", replyChgHeader: "SMFIR_CHGHEADER",
		replyProgress: "SMFIR_PROGRESS", replyQuarantine: "SMFIR_QUARANTINE", replyReject: "SMFIR_REJECT",
		replySkip: "SMFIR_SKIP", replyTempfail: "SMFIR_TEMPFAIL", replyCode: "SMFIR_REPLYCODE",
	}
)

// nameOf is the name of a command or a reply.
func nameOf(names map[byte]string, code byte, otherwise string) string {
	if name := names[code]; name != "" {
		return name
	}
	return otherwise
}

// Events that a filter does not want to see or to answer, and other habits of the
// protocol (SMFIP_*).
const (
	noConnect uint32 = 1 << iota
	noHelo
	noMail
	noRcpt
	noBody
	noHeaders
	noEndOfHead
	noHeaderReply
	noUnknown
	noData
	withSkip
	withRejectedRcpt
	noConnectReply
	noHeloReply
	noMailReply
	noRcptReply
	noDataReply
	noUnknownReply
	noEndOfHeadReply
	noBodyReply
	leadingSpace

	events2 = noConnect | noHelo | noMail | noRcpt | noBody | noHeaders | noEndOfHead
	events3 = events2 | noUnknown
	events4 = events3 | noData
	events6 = events4 | withSkip | withRejectedRcpt | leadingSpace | noConnectReply | noHeloReply | noMailReply |
		noRcptReply | noDataReply | noUnknownReply | noHeaderReply | noEndOfHeadReply | noBodyReply
	// optionalEvents are those that a filter or an old version can do without.
	optionalEvents = events4
)

// allActions is what a filter may ask for (SMFIF_*): all that there is.
const allActions uint32 = 1<<9 - 1

// versions are those that milter_protocol may name, newest first.
var versions = []struct {
	word    string
	number  uint32
	offered uint32
}{
	{"6", 6, events6}, {"4", 4, events4}, {"3", 3, events3}, {"2", 2, events2},
}

// parseProtocol reads milter_protocol: one version, and perhaps no_header_reply.
func parseProtocol(text string) (version, offered uint32, bad string) {
next:
	for _, word := range splitNames(text) {
		if strings.EqualFold(word, "no_header_reply") {
			offered |= noHeaderReply
			continue
		}
		for _, v := range versions {
			if v.word == word && version == 0 {
				version, offered = v.number, offered|v.offered
				continue next
			}
		}
		return 0, 0, word
	}
	return version, offered, ""
}

// unknownTo is the set of events that a version of the protocol does not have.
func unknownTo(version uint32) uint32 {
	for _, v := range versions {
		if v.number <= version {
			return optionalEvents &^ v.offered
		}
	}
	return 0
}

// Families of a client's address.
const (
	familyUnknown = 'U'
	familyInet    = '4'
	familyInet6   = '6'
)

const (
	// chunkSize is how much body text goes into one packet.
	chunkSize = 65535
	// maxPacket bounds what a filter sends at once: libmilter stops at a megabyte.
	maxPacket = 1<<20 + 1<<10
	// maxReplies bounds the packets of one answer, signs of life included.
	maxReplies = 100_000
	// maxPatience bounds the time of a whole answer, in time limits of one packet:
	// a filter that gives signs of life may work for an hour at the defaults.
	maxPatience = 12
	// maxEdits and maxEditBytes bound what a filter asks to be changed, the body
	// left out.
	maxEdits     = 10_000
	maxEditBytes = 2 << 20
	// maxReason is how much of the reason of a quarantine counts.
	maxReason = 100
)
