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
		{"check", nil, runCheck, "report what is wrong with the configuration"},
		{"explain", nil, runExplain, "tell what would become of a message, step by step"},
		{"help", nil, runHelp, "list the commands"},
		{"mailq", nil, runMailq, "list the mail queue"},
		{"postcat", nil, runPostcat, "show a message of the queue"},
		{"postconf", nil, runPostconf, "show and edit the configuration"},
		{"postdrop", nil, runPostdrop, "put a message into the maildrop (helper of sendmail)"},
		{"postfix", nil, runPostfix, "start, stop, reload and check the mail system"},
		{"postkick", nil, runPostkick, "wake up a part of the mail system"},
		{"postlock", nil, runPostlock, "lock a mailbox and run a command"},
		{"postlog", nil, runPostlog, "write to the mail log"},
		{"postalias", nil, runPostalias, "make or ask an alias database"},
		{"postmap", nil, runPostmap, "make or ask a lookup table"},
		{"postqueue", nil, runPostqueue, "list the mail queue, or try mail now"},
		{"postsuper", nil, runPostsuper, "delete, hold, release, requeue or expire messages"},
		{"run", nil, runRun, "run a complete server for example.test in one folder"},
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
