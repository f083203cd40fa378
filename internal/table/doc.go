// Package table is the room of lookup tables: what Postfix calls dict(3), maps(3),
// mail_addr_find(3) and match_list(3), and the work of postmap(1), postalias(1)
// and proxymap(8).
//
// A table is named "type:name". The types are rows in types.go; each has a
// file of its own. A Set holds the tables of one configuration generation, a
// Maps is the list of tables of one parameter, and a MatchList is a list like
// mydestination or mynetworks.
//
// Invariants:
//
//  1. A lookup has three answers: found, not found, error. An error means "try
//     later"; it is never folded into "not found". A table that cannot be
//     opened, or whose file makes no sense, answers every lookup with an error.
//  2. A lookup sees one state of a table, whole, and any number of goroutines
//     look up without a lock. A table follows its file (see below); unix: follows
//     the system's user database, as getpwnam does; a database is asked anew by
//     each lookup.
//  3. Keys of a fixed table are folded to lower case before they are looked up,
//     keys of a pattern table are not. An empty key is never looked up.
//  4. Derived keys (parent domains, parent networks, "@domain", addresses
//     without extension, bare local parts) go to fixed tables only.
//  5. Search is key-major: all tables of a list see one key before any table
//     sees the next derived key. The first error ends the search.
//  6. A lookup that returns an empty text is a configuration error.
//  7. Files are read under the shared flock(2) that Postfix's postmap respects,
//     and written as a new file that takes the place of the old in one rename.
//
// # hash: and btree:
//
// The name is the path without ".db". The rules at opening, in order:
//
//   - PATH.db exists: it is used. It must be a Berkeley DB file of the right
//     kind; a damaged one is an error. When the text PATH is newer (and not
//     just being edited: older than 100 seconds) a warning says that the .db is
//     older than its source, and the .db is still used, as Postfix does.
//   - PATH.db is missing and the text PATH exists: the text is read as texthash:
//     would (as an alias file where a line has "name: value" form), with
//     one warning that names postmap.
//   - Both are missing: an error.
//
// A configuration that is carried over from Postfix therefore works without
// postmap and without Berkeley DB on the machine, and the .db files that we
// write are read by Postfix.
//
// # Patterns
//
// pcre: runs PCRE2 with a limit on the steps of one match, so that no peer can
// spend our time with a hard text; a rule that gives up is logged and does not
// apply. regexp: runs on Go's regular expressions, which need no limit, on bytes
// as glibc does in the C locale; back references and word ends go to PCRE2.
// Where a POSIX expression can match the same text in several ways, the groups
// are those that a backtracking search finds first, which is what glibc gives for
// all but contrived expressions.
//
// # Indexed files
//
// hash:, btree:, lmdb: and cdb: files are mapped into memory, not read: a table of
// any size opens in microseconds and is no part of the heap, and a lookup touches
// two to five pages. Nothing in a file is relied on: each lookup checks the bounds
// of what it reads, its loops are bounded, and what does not fit is an error of
// that lookup. A page that the file lost after it was mapped is a SIGBUS, which
// becomes an error too (catchFault in mapped.go), so that a map is as safe as
// pread(2) and spares a system call per page. What it costs: a thread that waits
// for a page of a cold file waits inside of Go.
//
// A key is found with a NUL behind it or without, as postmap -N and -n store it.
// LMDB files are those of 64-bit little-endian machines. We write a new file of any
// type, also for postmap -i and -d, and rename it.
//
// dbm:, sdbm:, nis:, nisplus: and netinfo: are refused with what to use instead.
// internal: is empty, because nothing in a configuration fills it.
//
// # Databases
//
// mysql:, pgsql: and sqlite: take the client configuration files of Postfix 3.11, and
// main.cf parameters for a name without "/" or "." in front. No answer is kept: a row
// that changes counts for the next lookup. What they have in common with every type
// that makes a query from a key is in cffile.go (the settings) and query.go (the
// %-escapes, the domain list, result_format and expansion_limit).
//
// All settings: query, result_format, expansion_limit, domain, and the older table,
// select_field, where_field, additional_conditions. mysql: and pgsql: hosts, user,
// password, dbname, idle_interval, retry_interval. mysql: charset,
// require_result_set, tls_CAfile, tls_CApath, tls_cert_file, tls_key_file,
// tls_verify_cert. pgsql: encoding, select_function, and connection URIs in hosts.
// sqlite: dbpath.
//
// Limits: a connection is made in 5 seconds, a query answered in 10, a lookup done in
// 30; else it is an error. At most 20 connections lead to one server, shared by all
// tables of a Set with the same login; more lookups wait. An answer is at most 16
// MiB. A server that cannot be reached is left alone for retry_interval; then one
// lookup tries it, and the others go on without it meanwhile. A query that the
// server refuses is tried at the other servers, and no reason to leave one alone.
//
// Differences from Postfix:
//
//   - option_file, and an option_group other than "client", are refused: my.cnf is
//     not read. localhost means the socket in its usual places.
//   - tls_ciphers has no effect but to demand TLS. Without any tls_* setting a
//     MySQL server on another machine gets TLS when it can.
//   - charset and encoding must be ones that can be quoted safely (not gbk, sjis ...).
//   - Connection parameters of PostgreSQL that cannot be honoured are refused:
//     sslcrl, requirepeer, gssencmode=require and their like.
//   - A mistake in an SQL query is an error of each lookup, not the end of a process.
//   - A file of SQLite that is replaced is opened anew. It is opened for reading,
//     and must be there.
//   - ZEROFILL numbers of MySQL lose their zeros.
//   - No message has a line of a client configuration file in it, or a password.
//
// # Changed files
//
// A changed file acts without a reload. Who looks is a lookup: none, no change.
//
// Indexed files. After each lookup one fstat(2) tells whether the file still has
// its name and was not written to since it was opened, before the answer counts;
// once a second the name is looked up too, for directories and links that changed.
//
//   - A file that was replaced by rename(2) acts on the next lookup.
//   - A hash: or btree: file that Postfix's postmap rewrites in place is not read
//     meanwhile: the lookup waits for postmap's lock, 10 seconds at most, and is
//     an error then. Two changes within the same tick of the file system's clock
//     (100 ms are allowed for) can go unseen for a second.
//   - A .db or .cdb file that something else rewrites in place, without the lock,
//     is an error while a part of it is missing. A program that changes pages in
//     the middle of a complete file without the lock cannot be noticed.
//   - An lmdb: file has the last committed state at each lookup. A lookup that a
//     writer may have come across, two transactions later, is repeated. A copy
//     over the file in place cannot be told from a transaction: rename it.
//   - What takes the place of a file and cannot be opened, or nothing, leaves the
//     old file in use, with one warning.
//
// Text files (texthash:, cidr:, regexp:, pcre:, and hash: or btree: without a .db)
// are in memory, and looked at once a second. A changed one is read by the first
// lookup that finds it left alone for a second: both of its times are older than
// that, or two looks a second apart found it the same. Others go on with the
// content in use meanwhile. It is not used
//
//   - when it changed while it was read;
//   - for a minute, when it is empty or its last line has no end, and that was not
//     so before: it may be half of a text that is still being made;
//   - when more lines make no sense than in the content in use, or when it is gone:
//     what was read before stays in use, with one warning.
//
// What cannot be noticed: a program that makes a text in place, pauses for more
// than a second, and does so at the end of a line. Let it write another file and
// rename that. At start and at a reload a file is read as it is.
//
// A table that could not be opened is tried again every 10 seconds. The "/file"
// items of match lists, and the files of databases and directories, are read at
// start and at a reload.
//
// An old mapping goes when the garbage collector finds that no lookup refers to it.
//
// # Servers
//
// tcp:, socketmap:, memcache: and ldap: ask a server at each lookup, so they are
// an exception to invariant 2. Opening them asks nothing. remote.go has what they
// share: at most 32 connections to a server (8 to a directory), kept for 10
// seconds without work and used for 100 (a minute and 10 minutes); more lookups
// wait for their turn, within their time. A kept connection that the server closed
// meanwhile is replaced at once. On a kept connection nothing may come in
// unasked, and an answer must not be followed by anything: the next lookup would
// take it for its own. Whatever is no definite answer is an error, and the
// connection is given up.
//
// tcp: is tcp_table(5), with 2xx, 4xx and 5xx replies of at most 4096 bytes. A server that is
// away is tried 10 times, a second apart; one that hangs costs 100 seconds.
//
// socketmap: is socketmap_table(5), over inet: and unix:, with
// socketmap_max_reply_size. A lost connection is tried once more.
//
// memcache: is memcache_table(5), for lookups: memcache, backup, key_format,
// key_digest, domain, flags, ttl, data_size_limit, line_size_limit, max_try,
// retry_pause and timeout. An answer of the backup is stored in the server.
//
// ldap: is ldap_table(5), with LDAP version 3 whatever version says: server_host
// (URLs, hosts, several of them), server_port, timeout, search_base, scope,
// query_filter, domain, result_attribute, special_result_attribute,
// terminal_result_attribute, leaf_result_attribute, result_format (result_filter),
// recursion_limit, expansion_limit, size_limit, dereference, chase_referrals,
// bind, bind_dn, bind_pw, sasl_mechs (EXTERNAL only), sasl_authz_id, start_tls,
// tls_ca_cert_file, tls_ca_cert_dir, tls_cert, tls_key and tls_require_cert. One
// search is answered in timeout seconds and with 16 MiB at most, a lookup with all
// of its searches in 5 minutes.
//
// Differences from Postfix:
//
//   - A reply with a null byte, with the key of another question, or followed by
//     another reply is an error; Postfix takes a part of it for the answer. Only
//     a value of a directory ends at a null byte as it does there.
//   - tcp: gives up at once when the server hangs or sends a line that is too long,
//     where Postfix tries 9 times more.
//   - memcache: answers lookups only: postmap cannot write to it. While the
//     server is away, answers of the backup are not offered to it.
//   - ldap: goes on to the next server when one hangs or refuses to authenticate us,
//     where Postfix does so only when it cannot connect.
//   - ldap: refuses a bad query_filter when the table is opened; Postfix fails at each
//     lookup. bind = sasl without EXTERNAL is refused too.
//   - ldap: verifies certificates as Go does: a common name without a subject
//     alternative name does not count. tls_cipher_suite, tls_random_file and
//     debuglevel have no effect. What a server says to a failed bind is not logged.
package table
