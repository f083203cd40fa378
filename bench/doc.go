// Command bench measures Postroad and Debian's Postfix side by side on one
// machine: the same configuration, the same load, turn about, both with fsync
// honoured, each in a box of its own (testkit/box) on the same disk.
//
// The load source and the sink are processes of this program, so that their
// CPU is nobody's; before anything else they are run against each other
// without a server, and their rate is printed, because a result near it says
// more about them than about the server.
//
// The CPU of a subject is that of all its processes, dead and alive, from a
// control group of its own. Every run checks that every message it sent has
// arrived, or is in the queue where the workload says so; a run that lost one
// is an error, not a figure.
package main
