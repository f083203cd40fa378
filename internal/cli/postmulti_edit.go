package cli

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"postroad/internal/control"
	"postroad/internal/postconf"
	"postroad/internal/sys"
)

//go:embed instance/main.cf instance/master.cf
var instanceFiles embed.FS

// multiEdit is an action of postmulti -e.
type multiEdit struct {
	name string
	// each acts on the selected instances, which must exist; once acts on the
	// primary instance or a new one.
	each func(*multi, *instance) error
	once func(*multi) error
}

// multiEdits are the rows of -e, in the order in which messages name them.
func multiEdits() []multiEdit {
	return []multiEdit{
		{name: "create", once: (*multi).create},
		{name: "destroy", each: (*multi).destroy},
		{name: "import", once: (*multi).adopt},
		{name: "deport", each: (*multi).deport},
		{name: "enable", each: func(m *multi, in *instance) error { return m.set(in.dir, "multi_instance_enable = yes") }},
		{name: "disable", each: func(m *multi, in *instance) error { return m.set(in.dir, "multi_instance_enable = no") }},
		{name: "assign", each: (*multi).assign},
		{name: "init", once: (*multi).initialize},
	}
}

// checkEdit refuses an unknown action.
func (o *multiOptions) checkEdit() error {
	if o.mode != 'e' {
		return nil
	}
	var names []string
	for _, row := range multiEdits() {
		if row.name == o.edit {
			return nil
		}
		names = append(names, "'"+row.name+"'")
	}
	last := len(names) - 1
	return optionError(fmt.Sprintf("Invalid '-e' edit action '%s'. Specify %s or %s", o.edit, strings.Join(names[:last], ", "), names[last]))
}

// change is -e.
func (m *multi) change() error {
	if m.EUID != 0 {
		return optionError("Multi-instance management is reserved for the superuser")
	}
	for _, row := range multiEdits() {
		if row.name != m.o.edit {
			continue
		}
		if row.once != nil {
			return row.once(m)
		}
		if m.o.name == "" {
			return optionError("Select an instance via '-i name'")
		}
		found := m.selected(m.o.reverse)
		if len(found) == 0 {
			return optionError("No instance named " + m.o.name)
		}
		for _, in := range found {
			if err := row.each(m, in); err != nil {
				return err
			}
		}
	}
	return nil
}

// set edits the main.cf of an instance.
func (m *multi) set(dir string, settings ...string) error {
	next := m.as("postconf", append([]string{"-c", dir, "-e"}, settings...)...)
	if Run(next) != 0 {
		return fmt.Errorf("%s/main.cf was not changed", dir)
	}
	return nil
}

// initialize turns the management of several instances on.
func (m *multi) initialize() error {
	return m.set(m.all[0].dir, "multi_instance_wrapper = ${command_directory}/postmulti -p --", "multi_instance_enable = yes")
}

// directories are the three of an instance.
type directories struct{ config, queue, data string }

// asked reads the name=value arguments of create and import. What is not given lies
// beside that of the primary instance, under the new name.
func (m *multi) asked() (*directories, error) {
	d := &directories{}
	names := map[string]*string{"config_directory": &d.config, "queue_directory": &d.queue, "data_directory": &d.data}
	for _, arg := range m.o.args {
		name, value, ok := strings.Cut(arg, "=")
		to := names[strings.TrimSpace(name)]
		switch {
		case !ok:
			return nil, optionError("Malformed parameter setting '" + arg + "'")
		case to == nil || to != &d.config && m.o.edit == "import":
			return nil, optionError("Parameter '" + name + "' not valid with action " + m.o.edit)
		}
		if *to = strings.TrimSpace(value); !filepath.IsAbs(*to) || *to == "/" {
			return nil, optionError("Parameter setting '" + name + "' is not an absolute path")
		}
		*to = filepath.Clean(*to)
	}
	return d, nil
}

// ready tells whether instances can be added.
func (m *multi) ready() error {
	if wrapper, err := m.all[0].View(nil).Value("multi_instance_wrapper"); err != nil || wrapper == "" {
		return optionError("multi_instance_wrapper is empty, run 'postmulti -e init' first.")
	}
	return nil
}

// conflict finds an instance that has the name or a directory already.
func (m *multi) conflict(d *directories) error {
	for _, in := range m.all {
		for _, c := range []struct{ what, fresh, used string }{
			{"config_directory", d.config, in.dir}, {"queue_directory", d.queue, in.settings.QueueDirectory},
			{"data_directory", d.data, in.value("data_directory")}, {"multi_instance_name", m.o.newName, in.name},
		} {
			if c.fresh != "" && c.fresh == c.used {
				return optionError(fmt.Sprintf("new %s=%s is already in use by instance %s, %s=%s", c.what, c.fresh, in.dir, c.what, c.used))
			}
		}
	}
	return nil
}

func (in *instance) value(name string) string {
	v, _ := in.View(nil).Value(name)
	return v
}

// create makes a new instance: a configuration that accepts no mail until the
// administrator says so, a queue and a data directory.
func (m *multi) create() error {
	if err := m.ready(); err != nil {
		return err
	}
	d, err := m.asked()
	if err != nil {
		return err
	}
	primary := m.all[0]
	for _, c := range []struct {
		dir    *string
		beside string
	}{{&d.config, primary.dir}, {&d.queue, primary.settings.QueueDirectory}, {&d.data, primary.value("data_directory")}} {
		if *c.dir != "" {
			continue
		}
		name := m.o.newName
		if name == "" {
			if d.config == "" {
				return optionError("Missing config_directory parameter value")
			}
			name = filepath.Base(d.config)
		}
		*c.dir = filepath.Join(filepath.Dir(c.beside), name)
	}
	if err := m.conflict(d); err != nil {
		return err
	}
	if exists(d.config, "main.cf") || exists(d.config, "master.cf") {
		return optionError(d.config + " holds a configuration; use 'postmulti -e import'")
	}
	if err := writeInstance(d.config); err != nil {
		return err
	}
	settings := []string{
		"queue_directory = " + d.queue, "data_directory = " + d.data, "command_directory = " + primary.value("command_directory"),
		"authorized_submit_users =", "master_service_disable = inet",
	}
	if err := m.set(d.config, append(settings, m.labels()...)...); err != nil {
		return err
	}
	if err := m.register(append(m.otherDirs(""), d.config)); err != nil {
		return err
	}
	return m.makeDirs(d.config)
}

// makeDirs makes the directories of a new instance.
func (m *multi) makeDirs(dir string) error {
	next := m.as("postfix", "-c", dir, "set-permissions")
	if Run(next) != 0 {
		return fmt.Errorf("the directories of %s were not made", dir)
	}
	return nil
}

// writeInstance writes the files of a new configuration.
func writeInstance(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, name := range []string{"main.cf", "master.cf"} {
		text, err := instanceFiles.ReadFile("instance/" + name)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), text, 0o644)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// labels are the settings of -I and -G.
func (m *multi) labels() []string {
	var out []string
	if m.o.hasNewGroup {
		out = append(out, "multi_instance_group = "+m.o.newGroup)
	}
	if m.o.hasNewName {
		out = append(out, "multi_instance_name = "+m.o.newName)
	}
	return out
}

// otherDirs are the directories of the instances beside the primary one, but for
// one.
func (m *multi) otherDirs(without string) []string {
	var out []string
	for _, in := range m.all[1:] {
		if in.dir != without {
			out = append(out, in.dir)
		}
	}
	return out
}

// register writes the list of instances into the primary main.cf.
func (m *multi) register(dirs []string) error {
	return m.set(m.all[0].dir, "multi_instance_directories = "+strings.Join(dirs, " "))
}

// adopt adds an instance that exists: -e import.
func (m *multi) adopt() error {
	if err := m.ready(); err != nil {
		return err
	}
	d, err := m.asked()
	if err != nil {
		return err
	}
	if d.config == "" {
		if m.o.newName == "" {
			return optionError("Missing config_directory parameter value")
		}
		d.config = filepath.Join(filepath.Dir(m.all[0].dir), m.o.newName)
	}
	if !exists(d.config, "main.cf") || !exists(d.config, "master.cf") {
		return optionError("no configuration in " + d.config)
	}
	cfg, _ := postconf.Load(d.config, postconf.LoadOptions{Quiet: true, WithoutMaster: true})
	d.queue, _ = cfg.View(nil).Value("queue_directory")
	d.data, _ = cfg.View(nil).Value("data_directory")
	if err := m.conflict(d); err != nil {
		return err
	}
	if labels := m.labels(); len(labels) > 0 {
		if err := m.set(d.config, labels...); err != nil {
			return err
		}
	}
	return m.register(append(m.otherDirs(""), d.config))
}

// deport takes an instance off the list and leaves its files.
func (m *multi) deport(in *instance) error {
	if in.primary {
		return optionError("Cannot remove the primary instance")
	}
	if in.enabled {
		return optionError("Cannot remove enabled instances")
	}
	return m.register(m.otherDirs(in.dir))
}

// assign changes name and group.
func (m *multi) assign(in *instance) error {
	labels := m.labels()
	if len(labels) == 0 {
		return optionError("Specify new instance name or group with '-e assign'")
	}
	return m.set(in.dir, labels...)
}

// destroy removes an instance with its files. One that is enabled, runs or has mail
// stays.
func (m *multi) destroy(in *instance) error {
	if err := m.deport(in); err != nil {
		return err
	}
	if err := m.empty(in); err != nil {
		return errors.Join(err, m.register(append(m.otherDirs(in.dir), in.dir)))
	}
	var errs []error
	for _, dir := range []string{in.settings.QueueDirectory, in.value("data_directory"), in.dir} {
		errs = append(errs, m.removeDir(dir))
	}
	return errors.Join(errs...)
}

// empty tells whether an instance has no mail and does not run.
func (m *multi) empty(in *instance) error {
	ctx := context.Background()
	if err := control.NewClient(in.settings.QueueDirectory).Ping(ctx); err == nil {
		return optionError("Cannot remove an instance that runs: " + in.dir)
	}
	if m.Host.OpenQueue == nil || !exists(in.settings.QueueDirectory) {
		return nil
	}
	q, err := m.Host.OpenQueue(ctx, in.Config)
	if err != nil {
		return err
	}
	err = q.List(ctx, func(*control.Entry) error {
		return optionError("Cannot remove an instance with mail in its queue: " + in.dir)
	})
	return errors.Join(err, q.Close())
}

// instanceParts are what lies in the directories of an instance and may be removed.
var instanceParts = []string{
	"main.cf", "master.cf", "postroad", "maildrop", "public", "private", "pid", "incoming", "active", "deferred", "hold", "defer",
	"bounce", "trace", "flush", "saved", "corrupt", "master.lock",
}

// removeDir removes a directory of an instance; one that holds other files stays.
func (m *multi) removeDir(dir string) error {
	if dir == "" || dir == "/" {
		return nil
	}
	for _, part := range instanceParts {
		if err := os.RemoveAll(filepath.Join(dir, part)); err != nil {
			return err
		}
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		m.Warnf("%s is not removed: %s", dir, sys.Reason(err))
	}
	return nil
}
