package cli

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// pcCase is one generated run of postconf: two files and a command line.
type pcCase struct {
	config       string
	main, master string
	args         []string
}

// pcGenerator makes runs of postconf out of the configurations of a folder. The
// same number gives the same run.
type pcGenerator struct {
	configs []pcConfig
	names   []string // of parameters
}

// pcConfig is a configuration that runs are made from.
type pcConfig struct {
	name         string
	main, master string
	set          []string // what main.cf sets
	services     []string // "name/type"
}

// newPCGenerator reads the configurations in root.
func newPCGenerator(t testing.TB, root string) *pcGenerator {
	t.Helper()
	g := &pcGenerator{}
	defaults, err := os.ReadFile("testdata/postconf/defaults.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(defaults)) {
		if name, _, _ := strings.Cut(line, " ="); pcDefaultsDiffer[name] == "" && name != "config_directory" {
			g.names = append(g.names, name)
		}
	}
	dirs, err := filepath.Glob(filepath.Join(root, "*", "main.cf"))
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no configurations in %s: %v", root, err)
	}
	for _, file := range dirs {
		main, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		// Some sites have no master.cf of their own.
		master, err := os.ReadFile(filepath.Join(filepath.Dir(file), "master.cf"))
		if err != nil {
			master = []byte("smtp inet n - y - - smtpd\n\t-o a=b\n")
		}
		// postconf of Postfix splits "-oname=value" at each "o" of the name.
		master = bytes.ReplaceAll(bytes.ReplaceAll(master, []byte("-osmtpd"), []byte("-o smtpd")), []byte("-vvosys"), []byte("-vvo sys"))
		c := pcConfig{name: filepath.Base(filepath.Dir(file)), main: string(main), master: string(master)}
		for line := range strings.Lines(c.main) {
			if name, _, ok := strings.Cut(line, "="); ok && !strings.HasPrefix(line, "#") && line[0] > ' ' {
				if name = strings.TrimSpace(name); pcDefaultsDiffer[name] == "" && name != "config_directory" {
					c.set = append(c.set, name)
				}
			}
		}
		for line := range strings.Lines(c.master) {
			if f := strings.Fields(line); len(f) > 7 && line[0] > ' ' && line[0] != '#' {
				c.services = append(c.services, f[0]+"/"+f[1])
			}
		}
		g.configs = append(g.configs, c)
	}
	return g
}

// pcRand makes the parts of one run.
type pcRand struct {
	*rand.Rand
	g *pcGenerator
	c *pcConfig
}

// pick returns one of several.
func (r *pcRand) pick(from ...string) string { return from[r.IntN(len(from))] }

// one tells true once in n times.
func (r *pcRand) one(n int) bool { return r.IntN(n) == 0 }

// run makes the run of a number.
func (g *pcGenerator) run(number uint64) pcCase {
	r := &pcRand{Rand: rand.New(rand.NewPCG(number, 311)), g: g}
	r.c = &g.configs[r.IntN(len(g.configs))]
	c := pcCase{config: r.c.name, main: r.munge(r.c.main), master: r.munge(r.c.master)}
	switch r.IntN(12) {
	case 0:
		c.args = r.showMain()
	case 1:
		c.args = r.showMaster()
	case 2, 3, 4:
		c.args = r.setMain()
	case 5, 6:
		c.args = r.dropMain()
	case 7, 8:
		c.args = r.editEntry()
	case 9:
		c.args = r.editField()
	default:
		c.args = r.editParam()
	}
	return c
}

// munge changes what a text looks like: line ends, comments, order, blanks.
func (r *pcRand) munge(text string) string {
	lines := strings.SplitAfter(text, "\n")
	for range r.IntN(4) {
		at := r.IntN(len(lines))
		switch r.IntN(9) {
		case 0:
			lines = slices.Insert(lines, at, "# a remark\n")
		case 1:
			lines = slices.Insert(lines, at, "\n")
		case 2:
			lines = slices.Insert(lines, at, "   \n")
		case 3:
			lines = slices.Insert(lines, at, "  # an indented remark\n")
		case 4:
			lines = slices.Insert(lines, r.IntN(len(lines)), lines[at])
		case 5:
			lines[at] = strings.Replace(lines[at], " = ", r.pick("=", " =", "  =\t", "= "), 1)
		case 6:
			lines[at] = strings.Replace(lines[at], " ", r.pick("\n ", "\n\t", " \n# within\n  "), 1)
		case 7:
			other := r.IntN(len(lines))
			lines[at], lines[other] = lines[other], lines[at]
		default:
			lines[at] = strings.Replace(lines[at], "\n", r.pick(" \n", "\t\n", "\r\n", " # tail\n"), 1)
		}
	}
	text = strings.Join(lines, "")
	switch r.IntN(12) {
	case 0:
		text = strings.ReplaceAll(text, "\n", "\r\n")
	case 1:
		// Postfix writes an entry on the line of a comment that has no end, and
		// miscounts a wrong line that has none.
		if last := lines[max(0, len(lines)-2)]; !strings.Contains(last, "=") && len(strings.Fields(last)) < 8 {
			break
		}
		text = strings.TrimRight(text, "\n")
	}
	return text
}

// name returns the name of a parameter, often one that is set.
func (r *pcRand) name() string {
	switch {
	case len(r.c.set) > 0 && !r.one(3):
		return r.pick(r.c.set...)
	case r.one(3):
		return r.pick("my_own", "a.b", "smtp_nosuch", "x", "2bounce", "a-b_c", "relayhost", "mydestination")
	}
	return r.pick(r.g.names...)
}

// oddName is a name that is seldom right.
func (r *pcRand) oddName() string {
	return r.pick("", " ", "x y", "a,b", "#x", "x{", "$x", "\u00fc", "x/y", " relayhost ", "relayhost\t", "a\nb")
}

// value returns a value.
func (r *pcRand) value() string {
	return r.pick("yes", "", "a b  c", "hash:/etc/x, $y", "{ a = b }", "${x?{1}:{2}}", "#no", "a # b", " lead", "trail ",
		"1\n2", "a\tb", "x=y", "[relay.example]:587", "a,b,c", "$mydomain", "\u00fc", "a;b", "'q'", "\"d q\"", "yes\r", "{", "{a} b", "-o x=y")
}

// assign returns "name=value" with blanks around.
func (r *pcRand) assign() string {
	name := r.name()
	if r.one(12) {
		name = r.oddName()
	}
	if r.one(25) {
		return name
	}
	return name + r.pick("=", "=", "=", " = ", "= ", " =") + r.value()
}

// some returns up to n texts.
func (r *pcRand) some(n int, one func() string) []string {
	var out []string
	for range 1 + r.IntN(n) {
		out = append(out, one())
	}
	return out
}

// showMain makes options that show main.cf.
func (r *pcRand) showMain() []string {
	args := []string{r.pick("-n", "-n", "-nf", "-nh", "-nH", "-nj", "-nq", "-np", "-C", "-f", "-x", "-h", "-H", "-d", "-j", "-dh", "-nC")}
	if strings.HasSuffix(args[0], "C") {
		args = append(args, r.pick("user", "builtin", "service", "all", "user,service", "USER"))
		if args[0] == "-C" {
			args = append(args, "-n")
		}
		return args
	}
	if args[0][1] == 'n' {
		return args
	}
	return append(args, r.some(4, r.name)...)
}

// service returns "name/type", or what looks like it.
func (r *pcRand) service() string {
	switch {
	case len(r.c.services) == 0 || r.one(10):
		return r.pick("nosuch/unix", "*/inet", "*/*", "smtp/*", "smtp", "*", "", "/", "smtp/", "/inet", "smtp/inet/x/y", "smtp/nosuch", "a b/unix")
	case r.one(12):
		name, _, _ := strings.Cut(r.pick(r.c.services...), "/")
		return name + r.pick("", "/unix", "/inet", "/*")
	}
	return r.pick(r.c.services...)
}

// showMaster makes options that show master.cf.
func (r *pcRand) showMaster() []string {
	args := []string{r.pick("-M", "-Mf", "-Mx", "-Mj", "-F", "-Fh", "-FH", "-Ff", "-Fj", "-P", "-Ph", "-PH", "-Pj", "-Pf", "-Mq")}
	if r.one(2) {
		return args
	}
	tail := func() string { return r.service() }
	switch args[0][1] {
	case 'F':
		tail = func() string {
			return r.service() + r.pick("", "", "/*", "/command", "/type", "/chroot", "/wakeup", "/nosuch")
		}
	case 'P':
		tail = func() string { return r.service() + r.pick("", "", "/*", "/syslog_name", "/x") }
	}
	return append(args, r.some(3, tail)...)
}

// setMain makes edits that set parameters.
func (r *pcRand) setMain() []string {
	if r.one(2) {
		return append([]string{r.pick("-e", "-e", "-pe", "-ne")}, r.some(3, r.assign)...)
	}
	return r.some(3, r.assign)
}

// dropMain makes edits that take parameters out.
func (r *pcRand) dropMain() []string {
	name := func() string {
		if r.one(15) {
			return r.pick(r.oddName(), r.assign())
		}
		return r.name()
	}
	return append([]string{r.pick("-#", "-X", "-X", "-pX", "-eX")}, r.some(4, name)...)
}

// entry returns a line of master.cf.
func (r *pcRand) entry(service string) string {
	name, kind, _ := strings.Cut(service, "/")
	if r.one(8) {
		name = r.pick("other", "[::1]:25", "127.0.0.1:smtp", "")
	}
	if r.one(8) {
		kind = r.pick("inet", "unix", "fifo", "pass", "nosuch", "unix-dgram")
	}
	line := name + r.pick(" ", "  ", "\t") + kind + " " + r.pick("n", "-", "y", "-", "z") + " - " + r.pick("n", "-", "y") +
		" " + r.pick("-", "60", "60?", "0", "x", "300?") + " " + r.pick("-", "0", "5", "-1", "z") + " " + r.pick("smtpd", "smtp", "pipe", "qmgr", "proxymap")
	for range r.IntN(3) {
		line += r.pick(" -o a=b", " -o { a = b c }", " -v", " -o\ta=b", " -o {a=b}", " flags=DR user=x argv=/bin/y ${z}", " -o a=", " -oa=b", " -o", " -o { x = $y }", "\n -o c=d")
	}
	return line
}

// editEntry makes edits of entries.
func (r *pcRand) editEntry() []string {
	if r.one(2) {
		return append([]string{r.pick("-M#", "-MX", "-MX")}, r.some(2, r.service)...)
	}
	entry := func() string {
		service := r.service()
		return service + r.pick("=", " = ", "=") + r.entry(service)
	}
	return append([]string{r.pick("-M", "-Me", "-M")}, r.some(2, entry)...)
}

// editField makes edits of columns. Not among them are those that spoil the entry
// when Postfix makes them: an empty column, and an argument with blanks.
func (r *pcRand) editField() []string {
	field := func() string {
		return r.service() + "/" + r.pick("service", "type", "private", "unprivileged", "chroot", "wakeup", "process_limit", "command", "nosuch", "*") +
			r.pick("=", " = ") + r.pick("y", "n", "-", "60?", "5", "smtpd -v", "smtpd -o x=y", "unix", "inet", "a b", "smtpd -o { x = y z }")
	}
	return append([]string{r.pick("-F", "-Fe")}, r.some(3, field)...)
}

// editParam makes edits of "-o" settings.
func (r *pcRand) editParam() []string {
	param := func() string {
		name := r.pick("syslog_name", "smtpd_tls_security_level", "x", "smtpd_sasl_auth_enable", "content_filter", "milter_macro_daemon_name", r.name())
		if r.one(15) {
			name = r.pick(r.oddName(), "*")
		}
		return r.service() + "/" + name
	}
	if r.one(3) {
		return append([]string{r.pick("-PX", "-P#")}, r.some(3, param)...)
	}
	return append([]string{r.pick("-P", "-Pe", "-P")}, r.some(3, func() string { return param() + r.pick("=", " = ") + r.value() })...)
}

// spoils finds arguments that Postfix writes without their braces, so that one
// becomes two; ours keeps them.
var spoils = regexp.MustCompile(`-o\s+-o\s*\{`)

// apart tells whether a run cannot be compared: Postfix changes what an entry means
// when it writes it, or the result has the number of the process.
func (c *pcCase) apart() bool {
	return slices.ContainsFunc(c.args, spoils.MatchString) || strings.Contains(c.args[0], "x") && slices.Contains(c.args, "debugger_command")
}

// write makes the files of a run in a directory.
func (c *pcCase) write(t testing.TB, dir string) {
	t.Helper()
	for name, text := range map[string]string{"main.cf": c.main, "master.cf": c.master} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		// Postfix reads a file again and again until it is a second old.
		old := time.Now().Add(-time.Hour)
		if err := os.Chtimes(file, old, old); err != nil {
			t.Fatal(err)
		}
	}
}

// result is what a run did: its exit code, what it wrote, and what the files are
// now if they changed.
func (c *pcCase) result(t testing.TB, dir string, code int, stdout, stderr string) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "exit %d\n--- stdout\n%s--- stderr\n%s", code, stdout, stderr)
	for _, file := range []struct{ name, old string }{{"main.cf", c.main}, {"master.cf", c.master}} {
		text, err := os.ReadFile(filepath.Join(dir, file.name))
		if err != nil {
			t.Fatal(err)
		}
		if string(text) != file.old {
			fmt.Fprintf(&b, "--- %s\n%s", file.name, text)
		}
	}
	return steady(strings.ReplaceAll(b.String(), dir, "DIR"))
}

// steady takes out what differs from run to run of the same Postfix: the order of
// its warnings and how often it says one, and whether it shows config_directory,
// depend on where its hash tables lie, and where a long directory is folded on where
// the test runs. Our advice behind a warning is ours, and so is which of several
// names that lead to each other in a circle is said.
func steady(text string) string {
	var out []string
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "config_directory") || strings.HasPrefix(line, `{"config_directory"`) || strings.TrimSpace(line) == "DIR" {
			continue
		}
		if strings.HasPrefix(line, "postconf: warning: ") {
			if at := strings.Index(line, "; did you mean"); at > 0 {
				line = line[:at] + "\n"
			}
			if strings.Contains(line, "unreasonable macro call nesting") {
				line = "postconf: warning: unreasonable macro call nesting\n"
			}
		}
		out = append(out, pcLineNumber.ReplaceAllString(line, "$1"))
	}
	for i := 0; i < len(out); i++ {
		end := i
		for end < len(out) && strings.HasPrefix(out[end], "postconf: warning: ") {
			end++
		}
		slices.Sort(out[i:end])
		i = end
	}
	out = slices.CompactFunc(out, func(a, b string) bool { return a == b && strings.HasPrefix(a, "postconf: warning: ") })
	return strings.Join(out, "")
}

// runOurs runs our postconf.
func (c *pcCase) runOurs(t testing.TB, dir string) string {
	t.Helper()
	c.write(t, dir)
	var out, errs strings.Builder
	e := &Env{
		Prog: "postconf", Args: append([]string{"-c", dir}, c.args...), Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs,
	}
	code := runPostconf(e)
	return c.result(t, dir, code, out.String(), errs.String())
}

// pcLineNumber finds a line number that Postfix miscounts after an edited entry.
var pcLineNumber = regexp.MustCompile("(file DIR/master.cf: line )[0-9]+")
