package cli

// Command is one row of the table of commands.
type Command struct {
	// Name is the name under which it is run: argv[0] or the first argument of
	// postroad.
	Name string
	// Aliases are further names; the command finds the one used in Env.Prog.
	Aliases []string
	// Run does the work and returns the exit code. It is given its arguments,
	// without the name, in Env.Args.
	Run func(*Env) int
	// Summary is one line for the help.
	Summary string
}

// Commands is the table, by name. A new command is one file and one row here.
func Commands() []Command {
	return []Command{
		{"help", nil, runHelp, "list the commands"},
		{"mailq", nil, runMailq, "list the mail queue"},
		{"postcat", nil, runPostcat, "show a message of the queue"},
		{"postdrop", nil, runPostdrop, "put a message into the maildrop (helper of sendmail)"},
		{"postfix", nil, runPostfix, "start, stop, reload and check the mail system"},
		{"postlog", nil, runPostlog, "write to the mail log"},
		{"postqueue", nil, runPostqueue, "list the mail queue, or try mail now"},
		{"postsuper", nil, runPostsuper, "delete, hold, release, requeue or expire messages"},
		{"sendmail", []string{"newaliases"}, runSendmail, "submit a message; mailq and newaliases too"},
		{"master", nil, runMaster, ""},
		{"worker", nil, runWorker, ""},
		{"version", nil, runVersion, "print the version"},
	}
}

// Find returns the command of that name or alias.
func Find(name string) (Command, bool) {
	for _, c := range Commands() {
		if c.Name == name {
			return c, true
		}
		for _, alias := range c.Aliases {
			if alias == name {
				return c, true
			}
		}
	}
	return Command{}, false
}
