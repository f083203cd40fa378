// Package mailkit starts private mail servers for tests: the real Postfix, or
// Postroad in its place. A server has directories of its own, which are removed with
// the test, writes its log there, and is ended by its process group.
//
// Postfix wants to be started by root.
package mailkit
