// Package cli holds the commands that an administrator or a program types:
// postfix(1), sendmail(1), mailq(1), newaliases(1), postqueue(1), postsuper(1),
// postcat(1), postlog(1), postdrop(1), postconf(1), postmap(1), postalias(1),
// postmulti(1), postkick(1), postlock(1), and our own "postroad run" and "postroad
// version". One file per command, one row each in commands.go.
//
// Invariants:
//
//  1. A command reads and writes only through its Env, so that a test can run
//     it in process; it never calls os.Exit. (postdrop does when a signal ends it.)
//  2. Options, texts and exit codes are those of Postfix, except where a
//     comment says why not.
//  3. The queue is open in one process only. While a worker runs, commands ask
//     it over the control socket; else they open the queue themselves.
//  4. postdrop and postqueue run with the group of the maildrop for users who do not
//     trust each other. Such a process runs no other command, forgets its caller's
//     environment, and reads no configuration that the default main.cf does not list.
//  5. sendmail needs no running server: it and its sessions (-bs) write to the
//     maildrop, with the rights of their user.
package cli
