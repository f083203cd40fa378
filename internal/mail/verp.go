package mail

// VERP is a sender with the recipient in it, so that what comes back tells who
// could not be reached: with the delimiters "+=" list@here becomes
// list+user=there@here. The recipient is the one that the sender knows.
func VERP(sender Address, delimiters string, r *Recipient) Address {
	if len(delimiters) != 2 || sender == "" {
		return sender
	}
	rcpt := r.Original
	if rcpt == "" {
		rcpt = r.Address
	}
	name, host := sender.Split()
	out := Address(name) + Address(delimiters[:1]) + Address(rcpt.Local())
	if rcpt.HasDomain() {
		out += Address(delimiters[1:]) + Address(rcpt.Domain())
	}
	if host != "" {
		out += "@" + Address(host)
	}
	return out
}
