// Package privdeliver touches mailboxes and runs commands on behalf of users: the
// part of local(8) and virtual(8) that needs somebody's rights. The same code
// runs inside the worker, when the worker is that user, or in a small process
// that master starts as that user and that talks to the worker over a socket.
//
// Invariants:
//
//  1. The package uses the standard library only, and nothing of Postroad.
//  2. A process started for a user has that uid and gid from its first
//     instruction. Root's own process does nothing but what Limits allow: root's
//     mailbox and .forward, and mailbox files in a spool directory that only root
//     may write to. Whoever takes over the worker gains no more of root than
//     that.
//  3. A Maildir file has a name that follows from message and recipient, so that
//     a delivery that is repeated after a crash replaces itself.
//  4. A mailbox that could not be appended to has its former length again.
//  5. A mailbox is a regular file with one link that belongs to the user;
//     anything else is refused and left alone.
package privdeliver
