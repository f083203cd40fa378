// Package sqlkit starts database servers for tests: real ones of their own, in a
// directory that is removed with the test, and small ones in the process that speak
// the protocol and have an answer per query.
//
// A real server listens on a socket in its directory and on a free port of
// 127.0.0.1. It is started, stopped, and ended by its process number. Started by
// root it runs as the user that its Debian package made.
package sqlkit
