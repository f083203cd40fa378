// Package maildrop is the door for mail that is submitted on this machine: the
// files that sendmail(1) and postdrop(1) leave in $queue_directory/maildrop and
// that pickup(8) feeds to cleanup(8). The format is the record stream that
// Postfix 3 uses there, so that mail which waits in the maildrop of a stopped
// Postfix is picked up after a change to Postroad, and the other way round.
//
// A record is a type byte, the length of the data (seven bits a byte, least
// significant first, the high bit meaning that more follows) and the data:
//
//	T seconds [microseconds]          when it was submitted
//	A name=value                      envelope_id ret_flags notify_flags ...
//	C ... options                     option -O, as the sixth of six numbers
//	F full name   S sender            R recipient   O its original address
//	M                                 the content begins
//	N line   L piece of a longer line the content, without line ends
//	X                                 the content is over; R may follow
//	E                                 the end
//
// Invariants:
//
//  1. A file is complete exactly when its owner may execute it (mode bit 0100).
//     The bit is set after all data is written and before the fsync, so that one
//     sync makes both durable; this needs no right to read the directory, which
//     the set-gid postdrop does not have.
//  2. Whatever a local user writes is untrusted: records, recipients, attributes
//     and envelope text are bounded, and a line break or a NUL in an envelope
//     record is refused.
//  3. The owner of a file is who submitted it. Nothing inside the file can claim
//     another user.
//  4. A message of the queue that postsuper -r put back belongs to mail_owner and has
//     mode 0700; from such a file alone is believed what the records say about client,
//     time and original recipients. It is durable before the message leaves the queue,
//     and the message leaves the queue before the file is taken: a crash at any moment
//     leaves it in one of the two at least.
//  5. A file is opened without following links, must be a regular file with one
//     link, and is locked while it is read, so that two readers never take the
//     same message.
package maildrop
