package postscreen

import (
	"strconv"
	"strings"
)

// mask is a set of EHLO keywords that are left out.
type mask uint16

const (
	maskSize mask = 1 << iota
	maskVRFY
	maskETRN
	maskStartTLS
	maskStatusCodes
	mask8bit
	maskDSN
	maskUTF8
	maskChunking
	// maskSilent keeps the log silent about the others; maskOther are keywords
	// that are not offered here anyway.
	maskSilent
	maskOther
)

// maskRow is a keyword of postscreen_discard_ehlo_keywords.
type maskRow struct {
	word string
	bit  mask
}

// maskRows are the keywords.
func maskRows() []maskRow {
	return []maskRow{
		{"pipelining", maskOther}, {"size", maskSize}, {"vrfy", maskVRFY}, {"etrn", maskETRN}, {"starttls", maskStartTLS},
		{"auth", maskOther}, {"xverp", maskOther}, {"xclient", maskOther}, {"xforward", maskOther},
		{"enhancedstatuscodes", maskStatusCodes}, {"8bitmime", mask8bit}, {"dsn", maskDSN}, {"smtputf8", maskUTF8},
		{"chunking", maskChunking}, {"requiretls", maskOther}, {"silent-discard", maskSilent},
	}
}

// parseMask reads keywords; those that are none are left alone.
func parseMask(words []string) mask {
	var m mask
	for _, w := range words {
		for _, row := range maskRows() {
			if strings.EqualFold(w, row.word) {
				m |= row.bit
			}
		}
	}
	return m
}

// String lists the keywords for the log.
func (m mask) String() string {
	var words []string
	for _, row := range maskRows() {
		if m&row.bit != 0 && row.bit != maskSilent && row.bit != maskOther {
			words = append(words, strings.ToUpper(row.word))
		}
	}
	return strings.Join(words, ", ")
}

// fields splits a value of a table.
func fields(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) })
}

func itoa64(n int64) string { return strconv.FormatInt(n, 10) }
