package testkit

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
)

// Letter is a message that can be recognised, and checked, wherever it arrives.
type Letter struct {
	ID, Text string
}

// NewLetter writes a message of about size bytes under the name id. Its header
// holds the name and a hash of the body.
func NewLetter(id string, size int, rnd *rand.Rand) Letter {
	var body strings.Builder
	for body.Len() < size {
		n := 20 + rnd.IntN(60)
		for range n {
			body.WriteByte(byte('a' + rnd.IntN(26)))
		}
		body.WriteString("\r\n")
	}
	head := fmt.Sprintf("From: <sender@client.test>\r\nTo: <rcpt@example.test>\r\nSubject: %s\r\nMessage-Id: <%s@client.test>\r\n"+
		"Date: Mon, 23 Nov 2026 10:00:00 +0000\r\nX-Letter: %s %s\r\n\r\n", id, id, id, hash(body.String()))
	return Letter{ID: id, Text: head + body.String()}
}

// hash is a short hash of a body whose line ends do not matter.
func hash(body string) string {
	sum := sha256.Sum256([]byte(strings.ReplaceAll(body, "\r\n", "\n")))
	return hex.EncodeToString(sum[:12])
}

// ReadLetter finds the name in a message that arrived, and says what is wrong
// with its body ("" when nothing is). Without a name ok is false.
func ReadLetter(text string) (id, fault string, ok bool) {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	head, body, whole := strings.Cut(text, "\n\n")
	for line := range strings.SplitSeq(head, "\n") {
		v, found := strings.CutPrefix(line, "X-Letter: ")
		if !found {
			continue
		}
		id, want, good := strings.Cut(v, " ")
		switch {
		case !good || !whole:
			return id, "the header is cut off", true
		case hash(body) != want:
			return id, fmt.Sprintf("the body is not what was sent (%d bytes)", len(body)), true
		}
		return id, "", true
	}
	return "", "", false
}
