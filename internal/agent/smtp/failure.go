package smtp

import (
	"errors"
	"net"
	"strings"

	"postroad/internal/dns"
	"postroad/internal/table"
)

// failure is why something could not be done: for a site, a server, or one
// recipient.
type failure struct {
	// dsn and text are the status of the recipients that it hits.
	dsn, text string
	// mta and diag are what a server said, for delivery reports; empty when the
	// failure is our own finding.
	mta, diag string
	// warning is an extra line for the log.
	warning string
}

func newFailure(dsn, text string) *failure { return &failure{dsn: dsn, text: text} }

// replyFailure is a refusal by a server: "host X said: ...".
func replyFailure(r *reply, host, before, after string) *failure {
	line := r.line()
	return &failure{dsn: r.enhanced(), text: before + line + after, mta: host, diag: line}
}

// lookupFailure is a failed DNS lookup.
func lookupFailure(err error, dsn string) *failure {
	var e *dns.Error
	if errors.As(err, &e) {
		switch {
		case errors.Is(err, table.ErrDNSFilter):
			return filterFailure(e)
		case e.Kind == dns.Invalid:
			return newFailure("5.4.4", e.Error())
		case e.Type == "":
			return newFailure(dsn, e.Error())
		}
		return newFailure(dsn, "Host or domain name not found. "+e.Error())
	}
	return newFailure(dsn, err.Error())
}

// filterFailure is a DNS answer of which smtp_dns_reply_filter left nothing, or
// that it could not be applied to.
func filterFailure(e *dns.Error) *failure {
	dsn := "4.7.0"
	if strings.Contains(e.Text, "syntax") {
		dsn = "4.4.3"
	}
	return newFailure(dsn, strings.Replace(e.Error(), "Name service error for", "Error looking up", 1))
}

func (f *failure) soft() bool  { return f.dsn[0] == '4' }
func (f *failure) loops() bool { return f.dsn == "5.4.6" || f.dsn == "4.4.6" }

// soften makes a permanent failure temporary.
func (f *failure) soften() {
	if f.dsn[0] == '5' {
		f.dsn = "4" + f.dsn[1:]
	}
}

// isTimeout tells a deadline from a lost connection.
func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}
