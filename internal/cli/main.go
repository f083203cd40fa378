package cli

import "path/filepath"

// Main picks the command by argv[0] or, when that is postroad, by the first
// argument, and runs it. args includes argv[0].
func Main(args []string, host Host) int {
	name, rest := "postroad", args
	if len(args) > 0 {
		name, rest = filepath.Base(args[0]), args[1:]
	}
	if _, ok := Find(name); !ok || ours(name) {
		name = "help"
		if len(rest) > 0 {
			name, rest = rest[0], rest[1:]
		}
	}
	e := OSEnv(name, rest, host)
	if e.elevated() {
		e.harden()
		// The caller chooses the name: no other command is made for these rights.
		if command, ok := Find(name); !ok || !command.Setgid {
			return e.Fatalf(1, "this program is not to be run with the rights of a group")
		}
	}
	return Run(e)
}

// Run runs the command that e.Prog names.
func Run(e *Env) int {
	defer e.Close()
	command, ok := Find(e.Prog)
	if !ok {
		name := e.Prog
		e.Prog = "postroad"
		return e.Fatalf(1, "unknown command: '%s'; \"postroad help\" lists them", name)
	}
	return command.Run(e)
}

// ours tells whether a command belongs to postroad alone, so that a binary that
// happens to have its name does not become it.
func ours(name string) bool {
	switch name {
	case "check", "help", "version", "run", "master", "worker":
		return true
	}
	return false
}
