// Package sys is what many rooms need of the system below them: words for its
// errors, and waiting. It stands below all rooms and knows none of them.
package sys
