package cli

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"

	"postroad/internal/postconf"
	"postroad/internal/sys"
)

// multiOptions are the options of postmulti.
type multiOptions struct {
	// mode is l, x, p or e; edit is the argument of -e.
	mode byte
	edit string
	// group and name select instances; "" is any.
	group, name   string
	reverse, json bool
	// newName and newGroup are for edits; has tells which are given.
	newName, newGroup       string
	hasNewName, hasNewGroup bool
	args                    []string
}

// instance is one mail system on this machine.
type instance struct {
	*config
	name, group string
	enabled     bool
	primary     bool
}

// runPostmulti is postmulti(1): it manages several instances, the primary one of
// the default configuration and those of multi_instance_directories.
func runPostmulti(e *Env) int {
	if dir := e.Getenv("MAIL_CONFIG"); dir != "" && dir != postconf.DefaultDir {
		return e.Fatalf(1, "Non-default configuration directory: MAIL_CONFIG=%s", dir)
	}
	primary, err := e.load(postconf.DefaultDir)
	if err != nil {
		return e.Fatalf(1, "%v", err)
	}
	e.tag = "postmulti" // the only command that is not of an instance
	o, err := e.multiParse()
	if err != nil {
		return e.Fatalf(1, "%v", err)
	}
	m := &multi{Env: e, o: o}
	if err := m.find(primary); err != nil {
		return e.Fatalf(1, "%v", err)
	}
	switch o.mode {
	case 'l':
		m.list()
		return 0
	case 'x', 'p':
		if len(o.args) == 0 {
			return e.Fatalf(1, "Command required with '-p' or '-x' option")
		}
		return m.iterate()
	}
	if err := m.change(); err != nil {
		return e.Fatalf(1, "%v", err)
	}
	return 0
}

// multiParse reads the command line.
func (e *Env) multiParse() (*multiOptions, error) {
	o := &multiOptions{}
	g := NewGetopt(e.Args, "ae:g:i:jG:I:lpRvx")
	for {
		opt, err := g.Next()
		if err != nil {
			fmt.Fprintf(e.Stderr, "%s: %v\n", e.Prog, err)
			return nil, optionError("Usage:postmulti -l [-v] [-a] [-g group] [-i instance] | postmulti -p [-v] [-a] [-g group] [-i instance] command... | " +
				"postmulti -x [-v] [-a] [-i name] [-g group] command... | " +
				"postmulti -e action [-v] [-a] [-i name] [-g group] [-I name] [-G group] [param=value ...]")
		}
		switch opt {
		case 0:
			o.args = g.Args()
			if o.mode == 0 {
				return nil, optionError("Specify exactly one of '-e', '-l', '-p', '-x'")
			}
			return o, o.checkEdit()
		case 'e', 'l', 'p', 'x':
			if o.mode != 0 && o.mode != opt {
				return nil, optionError("Specify exactly one of '-e', '-l', '-p', '-x'")
			}
			o.mode = opt
			if opt == 'e' {
				o.edit = g.Arg
			}
		case 'g':
			o.group = g.Arg
		case 'i':
			o.name = g.Arg
		case 'G':
			o.newGroup, o.hasNewGroup = dashEmpty(g.Arg), true
		case 'I':
			o.newName, o.hasNewName = dashEmpty(g.Arg), true
			if o.newName != "" && !strings.HasPrefix(o.newName, "postfix-") {
				return nil, optionError("New instance name must start with 'postfix-'")
			}
		case 'j':
			o.json = true
		case 'R':
			o.reverse = true
		}
	}
}

// dashEmpty is the value of -G or -I, where "-" stands for none.
func dashEmpty(s string) string {
	if s == "-" {
		return ""
	}
	return s
}

// multi is one run of postmulti.
type multi struct {
	*Env
	o   *multiOptions
	all []*instance
}

// find reads the configurations of all instances.
func (m *multi) find(primary *config) error {
	dirs := append([]string{primary.dir}, primary.settings.MultiDirs...)
	for i, dir := range dirs {
		c := primary
		if i > 0 {
			other := m.as("postmulti")
			var err error
			if c, err = other.load(dir); err != nil {
				return err
			}
			other.Close()
		}
		m.all = append(m.all, &instance{
			config: c, name: c.settings.MultiName, group: c.settings.MultiGroup, enabled: c.settings.MultiEnable || len(dirs) == 1, primary: i == 0,
		})
	}
	return nil
}

// selected are the instances that -a, -g and -i mean, in the order of work.
func (m *multi) selected(reverse bool) []*instance {
	var out []*instance
	for _, in := range m.all {
		byName := m.o.name == "" || m.o.name == in.name || m.o.name == in.dir || m.o.name == "-" && in.primary
		if byName && (m.o.group == "" || m.o.group == orDash(in.group)) {
			out = append(out, in)
		}
	}
	if reverse {
		slices.Reverse(out)
	}
	return out
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// list is -l.
func (m *multi) list() {
	for _, in := range m.selected(m.o.reverse) {
		enabled := "n"
		if in.enabled {
			enabled = "y"
		}
		name, group := orDash(in.name), orDash(in.group)
		if m.o.json {
			m.Printf(`{"name": %s,"group": %s,"enabled": "%s","config_directory": %s}`+"\n",
				postconf.QuoteJSON(name), postconf.QuoteJSON(group), enabled, postconf.QuoteJSON(in.dir))
			continue
		}
		m.Printf("%-15s %-15s %-9s %s\n", name, group, enabled, in.dir)
	}
}

// iterate is -x and -p: a command for each instance. What stops or controls is for
// those that are enabled; starting another one only checks it. The exit code is that
// of the last that failed.
func (m *multi) iterate() int {
	settings := &m.all[0].settings
	is := func(list []string) bool { return m.o.mode == 'p' && slices.Contains(list, m.o.args[0]) }
	stops := is(settings.MultiStop)
	found := m.selected(m.o.reverse != stops)
	if stops || is(settings.MultiControl) {
		found = slices.DeleteFunc(found, func(in *instance) bool { return !in.enabled })
	}
	if len(found) == 0 {
		return m.Fatalf(1, "No matching instances")
	}
	code := 0
	for _, in := range found {
		args := m.o.args
		if !in.enabled && is(settings.MultiStart) {
			args = []string{"check"}
		}
		if one := m.work(in, args); one != 0 {
			code = one
		}
	}
	return code
}

// work runs the command for one instance.
func (m *multi) work(in *instance, args []string) int {
	if m.o.mode == 'x' {
		return m.execute(in, args)
	}
	next := m.as("postfix", append([]string{"-c", in.dir}, args...)...)
	next.Environ = append(m.Environ[:len(m.Environ):len(m.Environ)], "MAIL_CONFIG="+in.dir)
	return Run(next)
}

// execute is -x for one instance.
func (m *multi) execute(in *instance, args []string) int {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = m.Stdin, m.Stdout, m.Stderr
	cmd.Env = append(m.Environ[:len(m.Environ):len(m.Environ)], "MAIL_CONFIG="+in.dir)
	for _, name := range []string{
		"command_directory", "daemon_directory", "config_directory", "queue_directory", "data_directory",
		"multi_instance_name", "multi_instance_group", "multi_instance_enable",
	} {
		value, _ := in.View(nil).Value(name)
		if name == "config_directory" {
			value = in.dir
		}
		if value != "" {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	if err := cmd.Run(); err != nil {
		if cmd.ProcessState != nil {
			return max(cmd.ProcessState.ExitCode(), 1)
		}
		m.Warnf("%s: %s", args[0], sys.Reason(err))
		return 1
	}
	return 0
}
