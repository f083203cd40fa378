// Package agent holds the contract between the queue manager and whatever
// delivers mail, and the agents that need no network: local(8), virtual(8),
// error(8), discard(8).
//
// Invariants:
//
//  1. A Delivery gets exactly one Result per recipient, whatever happens.
//  2. An agent tries once. When to try again is qmgr's decision alone.
//  3. The delivery line of the log is written by qmgr from the Result; an agent
//     logs only what happened on the way.
//  4. What an alias or a .forward file names is delivered to once. A Result that
//     stands for several deliveries has a Step for each, and is the worst of them.
//  5. A command, a file or an :include: file has the rights of the user who wrote
//     it there, or those of default_privs; never root's.
package agent
