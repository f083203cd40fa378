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
	// Log says where its diagnostics go.
	Log LogMode
	// Setgid tells that it may run with the group of the set-gid programs.
	Setgid bool
}

// Commands is the table, by name. A new command is one file and one row here.
func Commands() []Command {
	return []Command{
		{"check", nil, runCheck, "report what is wrong with the configuration", LogNever, false},
		{"explain", nil, runExplain, "tell what would become of a message, step by step", LogNever, false},
		{"help", nil, runHelp, "list the commands", LogNever, false},
		{"limits", nil, runLimits, "list or reset the counters of postroad_limit", LogNever, false},
		{"mailq", nil, runMailq, "list the mail queue", LogByServer, false},
		{"postcat", nil, runPostcat, "show a message of the queue", LogNever, false},
		{"postconf", nil, runPostconf, "show and edit the configuration", LogNever, false},
		{"postdrop", nil, runPostdrop, "put a message into the maildrop (helper of sendmail)", LogByServer, true},
		{"postfix", nil, runPostfix, "start, stop, reload and check the mail system", LogDirect, false},
		{"postkick", nil, runPostkick, "wake up a part of the mail system", LogNever, false},
		{"postlock", nil, runPostlock, "lock a mailbox and run a command", LogNever, false},
		{"postlog", nil, runPostlog, "write to the mail log", LogAlways, false},
		{"postalias", nil, runPostalias, "make or ask an alias database", LogByServer, false},
		{"postmap", nil, runPostmap, "make or ask a lookup table", LogByServer, false},
		{"postmulti", nil, runPostmulti, "manage several mail systems on this machine", LogAlways, false},
		{"postqueue", nil, runPostqueue, "list the mail queue, or try mail now", LogByServer, true},
		{"postsuper", nil, runPostsuper, "delete, hold, release, requeue or expire messages", LogAlways, false},
		{"run", nil, runRun, "run a complete server for example.test in one folder", LogDirect, false},
		{"sendmail", []string{"newaliases"}, runSendmail, "submit a message; mailq and newaliases too", LogByServer, false},
		{"master", nil, runMaster, "", LogDirect, false},
		{"worker", nil, runWorker, "", LogDirect, false},
		{"version", nil, runVersion, "print the version", LogNever, false},
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
