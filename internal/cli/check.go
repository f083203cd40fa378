package cli

import (
	"fmt"

	"postroad/internal/postconf"
)

// runCheck is "postroad check": what is wrong with a configuration, for anybody
// who can read it. Unlike "postfix check" it touches nothing.
func runCheck(e *Env) int {
	dir, rest, err := e.plainOptions()
	if err != nil || len(rest) > 0 {
		return e.Fatalf(1, "usage: postroad check [-c config_dir]")
	}
	dir = e.configDir(dir)
	cfg, problems := postconf.Load(dir, postconf.LoadOptions{})
	var s Settings
	problems = append(problems, cfg.View(nil).Decode(&s)...)
	if e.Host.Check != nil && !postconf.HasFatal(problems) {
		problems = append(problems, e.Host.Check(cfg)...)
	}
	fatal := 0
	for i := range problems {
		if problems[i].Fatal {
			fatal++
			e.Errorf("%v", problems[i].Error())
		} else {
			e.Warnf("%v", problems[i].Error())
		}
	}
	if fatal > 0 {
		return e.Fatalf(1, "%s: %s: the mail system would not start", dir, count(fatal, "error"))
	}
	e.Printf("%s: no errors, %s\n", dir, count(len(problems), "warning"))
	return 0
}

// count writes a number with its noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
