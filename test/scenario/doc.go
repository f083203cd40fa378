// Package scenario reads, plays and compares the scenarios in test/scenarios:
// each is one text file with a configuration, a zone, remote servers and a
// script. The same file is played to Debian's Postfix and to Postroad, each in
// a box of its own; what the two answered, delivered, queued and logged is
// munged and must be equal, after the differences between Postfix 3.7 and 3.11
// that differs.txt and the scenario itself name.
//
// # The file
//
// Sections begin with a line "-- NAME ARGUMENTS --":
//
//	main.cf                  parameters over the common ones (base.go)
//	master.cf                services over or beside the common ones
//	map TYPE PATH            a table below /etc/postfix, built with postmap
//	aliases                  /etc/aliases, built with newaliases
//	file PATH [owner USER] [mode OCTAL]
//	text NAME                a message or other text, in the work directory
//	zone [NAME]              the DNS; a name makes a spare one for the script
//	sink ADDR:PORT|PATH      a remote server, with its script (testkit.Sink)
//	script                   what happens
//	differs                  3.7 to 3.11, see differs.go
//
// # The script
//
// One step a line; "#" begins a comment.
//
//	start | stop | reload | restart | kill | nostart
//	open A [from ADDR] [to ADDR:PORT] [tls | quiet]
//	                   a quiet client does not wait for the greeting
//	A> LINE        send a line, read the reply
//	A>> LINE       send a line
//	A< N           read N replies
//	A! "TEXT"      send a Go string as it is
//	A. NAME        send a text as DATA does, with its final dot; read the reply
//	A tls          STARTTLS and handshake; A handshake: the handshake alone
//	A eof          read until the server closes
//	A close        close; A reset: with a TCP reset
//	exec LINE      a shell command; "as USER exec LINE" for another user
//	send LINE      exec, and wait until the mail has settled; "as USER send LINE"
//	wait settled   until no message is on its way
//	wait empty     until the queue is empty
//	wait log N REGEXP, wait sink ADDR N
//	zone NAME      change the DNS; write PATH TEXT: change a file
//	show dialogue ADDR    what peers said to a sink
//	show file PATH
//	pause DURATION
//
// Without "start" or "nostart" the server is started first. At the end the
// runner waits until the queue has settled, and adds all mailboxes, all mail
// that the sinks took, and the log.
package scenario
