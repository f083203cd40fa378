// Package master is the supervisor: master(8). As root it reads the
// configuration, binds the listeners of the inet services, starts the worker
// that does all mail work as mail_owner, and replaces a worker that dies. When
// an ordinary user starts it, supervisor and worker are one process.
//
// Master and worker talk over one socket pair (channel.go). The worker gets its
// listeners over it, and asks over it for files that only root may read.
//
// Invariants:
//
//  1. Master never reads a byte that came from the network, nor the queue.
//  2. Two masters never run on one queue: pid/master.pid is locked, and the
//     worker shares the lock, so that it holds until the last process is gone.
//  3. When master is gone, whatever killed it, the channel ends and the worker
//     stops.
//  4. A reload that fails changes nothing: the old generation goes on, with its
//     listeners, and the log says why.
//  5. Master opens a file for the worker only when the configuration names it.
package master
