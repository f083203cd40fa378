package cli

import "path/filepath"

// Main picks the command by argv[0] or, when that is postroad, by the first
// argument, and runs it. args includes argv[0].
func Main(args []string) int {
	name, rest := "postroad", args
	if len(args) > 0 {
		name, rest = filepath.Base(args[0]), args[1:]
	}
	if _, ok := Find(name); !ok || name == "help" || name == "version" {
		if len(rest) == 0 {
			return runHelp(OSEnv("postroad", nil))
		}
		name, rest = rest[0], rest[1:]
	}
	command, ok := Find(name)
	if !ok {
		return OSEnv("postroad", nil).Fatalf(1, "unknown command: '%s'; \"postroad help\" lists them", name)
	}
	return command.Run(OSEnv(name, rest))
}
