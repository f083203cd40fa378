package cli

import "postroad/internal/postconf"

// Version is what "postroad version" prints. MailVersion is the release of
// Postfix whose behaviour and configuration we follow.
const (
	Version     = "0.1.0"
	MailVersion = postconf.Release
)

// runHelp prints the table of commands.
func runHelp(e *Env) int {
	e.Printf("Usage: postroad COMMAND [ARGUMENTS]\n\nA mail server that runs Postfix's configuration.\n\nCommands:\n")
	for _, c := range Commands() {
		if c.Summary == "" {
			continue // started by other commands only
		}
		e.Printf("  %-12s %s\n", c.Name, c.Summary)
	}
	e.Printf("\nA command also runs when postroad is linked under its name, for example as sendmail.\n")
	return 0
}

// runVersion prints the version.
func runVersion(e *Env) int {
	e.Printf("postroad %s (Postfix %s compatible)\n", Version, MailVersion)
	return 0
}
