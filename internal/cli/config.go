package cli

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"postroad/internal/postconf"
	"postroad/internal/table"
)

// config is the configuration as a command sees it.
type config struct {
	*postconf.Config
	dir      string
	settings Settings
}

// configDir is the directory that -c (or -C), MAIL_CONFIG or the default names.
func (e *Env) configDir(option string) string {
	if option != "" {
		return option
	}
	if dir := e.Getenv("MAIL_CONFIG"); dir != "" {
		return dir
	}
	return postconf.DefaultDir
}

// absoluteDir is configDir as an absolute path: tables that are named from it are
// opened from another directory.
func (e *Env) absoluteDir(option string) (string, error) { return filepath.Abs(e.configDir(option)) }

// load reads main.cf for a command and opens the log for its diagnostics. The
// error text is what follows "fatal: ".
func (e *Env) load(option string) (*config, error) {
	dir := e.configDir(option)
	if dir != postconf.DefaultDir && e.elevated() {
		if !listedDir(dir) {
			e.Errorf("unauthorized configuration directory name: %s", dir)
			return nil, fmt.Errorf("specify \"alternate_config_directories = %s\" or \"multi_instance_directories = %s\" in %s/main.cf",
				dir, dir, postconf.DefaultDir)
		}
	}
	c := &config{dir: dir}
	var problems []postconf.Problem
	c.Config, problems = postconf.Load(dir, postconf.LoadOptions{Quiet: true, WithoutMaster: true})
	problems = append(problems, c.View(nil).Decode(&c.settings)...)
	for i := range problems {
		if problems[i].Fatal {
			return nil, fmt.Errorf("%v", problems[i].Error())
		}
	}
	if e.elevated() {
		e.Environ = imported(e.Environ, c.settings.ImportEnvironment)
	}
	e.openLog(&c.settings)
	for i := range problems {
		e.Warnf("%v", problems[i].Error())
	}
	return c, nil
}

// listedDir keeps a user from making a set-gid command read a main.cf of the user's
// own: the directory must be listed in the default main.cf.
func listedDir(dir string) bool {
	cfg, _ := postconf.Load(postconf.DefaultDir, postconf.LoadOptions{Quiet: true, WithoutMaster: true})
	var s Settings
	cfg.View(nil).Decode(&s)
	return slices.Contains(s.AlternateDirs, dir) || slices.Contains(s.MultiDirs, dir)
}

// userName is the login name of a uid, or "unknown".
func userName(uid int) string {
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil {
		return "unknown"
	}
	return u.Username
}

// allowed tells whether a user is in one of the authorized_ lists. A table that
// cannot be asked denies.
func (c *config) allowed(param string, list []string, uid int) bool {
	return userAllowed(c.Config, param, list, uid)
}

// UserAllowed tells whether a user is in the list of the parameter, which is
// authorized_flush_users, authorized_mailq_users or authorized_submit_users.
func UserAllowed(cfg *postconf.Config, param string, uid int) bool {
	list, err := cfg.View(nil).List(param)
	return err == nil && userAllowed(cfg, param, list, uid)
}

func userAllowed(cfg *postconf.Config, param string, list []string, uid int) bool {
	if len(list) == 1 && list[0] == "static:anyone" {
		return true
	}
	set, done := openTables(cfg)
	defer done()
	users, err := set.StringList(param, list)
	if err != nil {
		return false
	}
	ctx, cancel := tableContext()
	defer cancel()
	ok, err := users.Match(ctx, userName(uid))
	return err == nil && ok
}

// openTables returns a set of tables for one question.
func openTables(cfg *postconf.Config) (*table.Set, func()) {
	view := cfg.View(nil)
	queue, _ := view.Value("queue_directory")
	typ, _ := view.Value("default_database_type")
	utf8, _ := view.Bool("smtputf8_enable")
	set := table.NewSet(table.Options{QueueDir: queue, UTF8: utf8, DefaultType: typ, Param: view.Setting})
	return set, func() { set.Close() }
}

// cleanID tells whether s can be the name of a queue file; Postfix checks the
// form only, so that a wrong id is "not found" and not an error.
func cleanID(s string) bool {
	if s == "" || len(s) > 100 {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '_' && r != '-'
	}) < 0
}

// exists tells whether a file is there.
func exists(elem ...string) bool {
	_, err := os.Stat(filepath.Join(elem...))
	return err == nil
}
