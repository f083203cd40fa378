package bounce

import "postroad/internal/mail"

// kind is a type of notification.
type kind struct {
	// label is for the metrics and the name of the template.
	label string
	// subject and copySubject are for the sender and for the postmaster, where no
	// template says otherwise.
	subject, copySubject string
	// undelivered tells that the message was not delivered (yet).
	undelivered bool
	// text opens the part for people, where no template does; $names are filled
	// in. Tools know the first line.
	text string
}

var (
	failureKind = &kind{"failure", "Undelivered Mail Returned to Sender", "Postmaster Copy: Undelivered Mail", true,
		`This is the mail system at host $myhostname.

Your message could not be delivered to the recipients named below, and
no further attempt will be made. The reason stands behind each address;
your message, or its header, is attached.

If the reason does not help you, write to postmaster and enclose this
report. The attached message may be left out.

                   The mail system
`}
	delayKind = &kind{"delay", "Delayed Mail (still being retried)", "Postmaster Warning: Delayed Mail", true,
		`This is the mail system at host $myhostname.

####################################################################
#    THIS IS ONLY A WARNING. PLEASE DO NOT SEND THE MESSAGE AGAIN.   #
####################################################################

Your message has been waiting for more than $delay_warning_time_hours hour(s) because it
could not be delivered to the recipients named below. Delivery will be
tried again until the message is $maximal_queue_lifetime_days day(s) old.

If you need help, write to postmaster and enclose this report. The
attached header may be left out.

                   The mail system
`}
	successKind = &kind{"success", "Successful Mail Delivery Report", "", false,
		`This is the mail system at host $myhostname.

Your message was delivered to the destinations named below. Where it
reached a mailbox, this is the last you hear of it. Where it was passed
on to another system, that system may still report an error.

                   The mail system
`}
	verifyKind = &kind{"verify", "Mail Delivery Status Report", "", false,
		`This is the mail system at host $myhostname.

Here is the delivery report that you asked for.

                   The mail system
`}
)

// kinds are all of them, in the order of a file of templates.
var kinds = []*kind{failureKind, delayKind, successKind, verifyKind}

// action is the word of RFC 3464 2.3.3 for a result.
func (k *kind) action(r *mail.Result) string {
	switch {
	case k == failureKind:
		return "failed"
	case k == delayKind:
		return "delayed"
	}
	switch r.Outcome {
	case mail.Deliverable:
		return "deliverable"
	case mail.Undeliverable:
		return "undeliverable"
	case mail.Bounced:
		return "failed"
	case mail.Deferred:
		return "delayed"
	}
	switch {
	case r.Expanded:
		return "expanded"
	case r.Relayed:
		return "relayed"
	}
	return "delivered"
}

// reason is the text for people. Reports about delivery say over what.
func (k *kind) reason(r *mail.Result) string {
	if !k.undelivered && r.Relay != "" && r.Relay != "none" {
		return "delivery via " + r.Relay + ": " + r.Text
	}
	return r.Text
}
