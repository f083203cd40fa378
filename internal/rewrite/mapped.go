package rewrite

import (
	"slices"
	"strings"

	"postroad/internal/mail"
)

// Mapped reads the addresses of a table's answer for addr, at most limit of them.
// An answer "@domain" keeps the local part; extension, the part of addr that was
// not in the key, is appended to each unless it is empty. complete makes an
// address of the table whole.
func Mapped(complete func(string) mail.Address, addr mail.Address, value, extension string, propagate bool, limit int) []mail.Address {
	if strings.HasPrefix(value, "@") {
		local := strings.TrimSuffix(addr.Local(), extension)
		quoted := string(mail.Address(local + "@x").External()) // the local part in quotes, if need be
		value = strings.TrimSuffix(quoted, "@x") + value
	}
	var out []mail.Address
	for spot := range HeaderAddresses(value) {
		to := complete(string(spot.Addr))
		if extension != "" && propagate {
			to = withExtension(to, extension)
		}
		if out = append(out, to); len(out) >= limit {
			break
		}
	}
	return out
}

// withExtension adds an address extension to a local part.
func withExtension(addr mail.Address, extension string) mail.Address {
	at := strings.LastIndexByte(string(addr), '@')
	if at < 0 {
		return addr + mail.Address(extension)
	}
	return addr[:at] + mail.Address(extension) + addr[at:]
}

// addressFields are the header fields that hold addresses; true for those of
// recipients, false for those of senders.
var addressFields = map[string]bool{
	"apparently-to": true, "bcc": true, "cc": true, "resent-bcc": true, "resent-cc": true, "resent-reply-to": true,
	"resent-to": true, "to": true,
	"disposition-notification-to": false, "errors-to": false, "from": false, "mail-followup-to": false, "reply-to": false,
	"resent-from": false, "resent-sender": false, "return-path": false, "return-receipt-to": false, "sender": false,
}

// AddressField tells whether a header field, named in lower case, is a list of
// addresses, and whether they are those of recipients.
func AddressField(name string) (recipients, ok bool) {
	recipients, ok = addressFields[name]
	return recipients, ok
}

// mimeFields are the header fields that describe content.
var mimeFields = []string{
	"content-description", "content-disposition", "content-id", "content-transfer-encoding", "content-type", "mime-version",
}

// MIMEField tells whether a header field, named in lower case, describes content:
// wherever it stands, mime_header_checks see it and no other table.
func MIMEField(name string) bool { return slices.Contains(mimeFields, name) }
