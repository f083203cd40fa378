package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postroad/internal/testkit"
)

// postconfCases is where the configurations for the tests are.
const postconfCases = "../postconf/testdata/configs"

// runPostconfWith runs postconf and returns the exit code and all output, with the
// directory replaced by DIR.
func runPostconfWith(dir string, args ...string) (int, string) {
	var out, errs strings.Builder
	e := &Env{
		Prog: "postconf", Args: args, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs,
		Environ: []string{"MAIL_CONFIG=" + dir},
	}
	code := runPostconf(e)
	return code, strings.ReplaceAll(out.String()+errs.String(), dir, "DIR")
}

// TestPostconfShow compares what postconf shows with a golden file. Except for the
// line numbers and hints in warnings, the file was compared with the output of
// Postfix.
func TestPostconfShow(t *testing.T) {
	var b strings.Builder
	for _, test := range []struct{ config, args string }{
		{"usernames", "-n"},
		{"usernames", "-n -q"},
		{"usernames", "-n -h"},
		{"usernames", "-n -H"},
		{"usernames", "-n -j"},
		{"usernames", "-C user"},
		{"usernames", "-nx -o more=permit -o relayhost=x"},
		{"usernames", "-M submission/inet"},
		{"usernames", "-Mf submission"},
		{"usernames", "-Mj submission"},
		{"usernames", "-Mx submission"},
		{"usernames", "-P submission/inet"},
		{"usernames", "-P */*/lenient"},
		{"usernames", "-P -j -x submission/inet/smtpd_client_restrictions"},
		{"usernames", "-PH"},
		{"usernames", "-F submission"},
		{"usernames", "-Fj submission/inet/command"},
		{"usernames", "-Fh */*/command"},
		{"usernames", "-M nosuch"},
		{"transports", "-C service -n"},
		{"transports", "-x slow_destination_rate_delay local_destination_recipient_limit vacation_time_limit"},
		{"transports", "-d slow_destination_rate_delay default_destination_rate_delay"},
		{"services", "-Ff"},
		{"expressions", "-x smtpd_banner smtpd_timeout"},
		{"expressions", "-x -o stress=yes smtpd_timeout smtpd_hard_error_limit"},
		{"expressions", "-Px submission/inet"},
		{"oldnames", "-n"},
		{"level0", "-x append_dot_mydomain relay_domains mynetworks_style smtpd_relay_restrictions"},
		{"level0", "-x -o compatibility_level=3.11 append_dot_mydomain relay_domains mynetworks_style smtpd_relay_restrictions"},
		{"level0", "-o compatibility_level=2?x -h biff"},
		{"level0", "-o compatibility_level=2?x -o mynetworks=1.2.3.4 -h biff"},
		{"level0", "-o compatibility_level=2?x -o mynetworks_style=host -x -h relay_domains"},
		{"level0", "-d mail_version nosuch virtual_maps"},
		{"level0", "-l"},
		{"level0", "-a"},
		{"level0", "-A"},
		{"level0", "-T x"},
		{"level0", "-n -d"},
		{"level0", "-hH"},
		{"level0", "-M -h"},
		{"level0", "-p -M"},
		{"level0", "-m -n"},
		{"level0", "-j -f"},
		{"level0", "-C nosuch"},
		{"level0", "-o x"},
		{"level0", "-e"},
		{"level0", "-X"},
		{"level0", "-M a/b/c"},
		{"level0", "-F a/b/nosuch"},
		{"level0", "-M *a"},
		{"none", "-n"},
		{"none", "-M"},
	} {
		code, out := runPostconfWith(filepath.Join(postconfCases, test.config), strings.Fields(test.args)...)
		fmt.Fprintf(&b, "$ postconf -c %s %s\n%s", test.config, test.args, out)
		if code != 0 {
			fmt.Fprintf(&b, "exit %d\n", code)
		}
	}
	testkit.Golden(t, "testdata/postconf/show.txt", b.String(), *update)
}

// TestPostconfFiles: a service that master(8) would not start is shown all the same;
// master.cf is read first when nothing of main.cf is to be shown.
func TestPostconfFiles(t *testing.T) {
	for _, test := range []struct{ main, master, option, want string }{
		{"compatibility_level = 3.11\n", "smtp inet y - n - - smtpd\n", "-M", "smtp       inet  y       -       n       -       -       smtpd\n"},
		{"broken\n", "  stray\n", "-M", "postconf: warning: DIR/master.cf: logical line must not start with whitespace: \"  stray\"\n" +
			"postconf: fatal: DIR/main.cf, line 1: missing '=' after attribute name: \"broken\"\n"},
		{"broken\n", "  stray\n", "-n", "postconf: fatal: DIR/main.cf, line 1: missing '=' after attribute name: \"broken\"\n"},
		{"broken\n", "broken\n", "-F", "postconf: fatal: file DIR/master.cf: line 1: bad field count\n"},
	} {
		dir := t.TempDir()
		for name, text := range map[string]string{"main.cf": test.main, "master.cf": test.master} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if _, out := runPostconfWith(dir, test.option); out != test.want {
			t.Errorf("%+v: %s", test, out)
		}
	}
}

// TestPostconfEdit checks that edits reach the files, and that an edit which is
// refused leaves them alone.
func TestPostconfEdit(t *testing.T) {
	const main, master = "# names\nmyhostname = a.example\nrelayhost = x\n", "smtp inet n - n - - smtpd\n"
	for _, test := range []struct {
		args         []string
		file, want   string
		code, output int
	}{
		{[]string{"myhostname = b.example"}, "main.cf", "# names\nmyhostname = b.example\nrelayhost = x\n", 0, 0},
		{[]string{"-e", "a=1", "relayhost="}, "main.cf", "# names\nmyhostname = a.example\nrelayhost = \na = 1\n", 0, 0},
		{[]string{"-#", "relayhost"}, "main.cf", "# names\nmyhostname = a.example\n#relayhost = x\n", 0, 0},
		{[]string{"-X", "relayhost", "nosuch"}, "main.cf", "# names\nmyhostname = a.example\n", 0, 0},
		{[]string{"-e", "relayhost=y", "broken"}, "main.cf", main, 1, 1},
		{[]string{"-e", "a=1", "a=2", "broken"}, "main.cf", main, 1, 2},
		{[]string{"-X", "relayhost "}, "main.cf", main, 0, 0},
		{[]string{"-e", "x y=1"}, "main.cf", main, 1, 1},
		{[]string{"-M", "smtp/inet=smtp inet n - y - - smtpd -v"}, "master.cf", "smtp       inet  n       -       y       -       -       smtpd -v\n", 0, 0},
		{[]string{"-MX", "smtp/inet"}, "master.cf", "", 0, 0},
		{[]string{"-M#", "smtp/inet"}, "master.cf", "#" + master, 0, 0},
		{[]string{"-F", "smtp/inet/process_limit=5"}, "master.cf", "smtp       inet  n       -       n       -       5       smtpd\n", 0, 0},
		{[]string{"-P", "smtp/inet/a=b"}, "master.cf", "smtp       inet  n       -       n       -       -       smtpd -o a=b\n", 0, 0},
		{[]string{"-P", "nosuch/inet/a=b"}, "master.cf", master, 0, 1},
		{[]string{"-M", "smtp/inet=smtp inet n - n - - smtpd -o {a=b"}, "master.cf", "smtp       inet  n       -       n       -       -       smtpd -o a=b\n", 0, 1},
		{[]string{"-M", "smtp/inet=bad"}, "master.cf", master, 1, 1},
	} {
		dir := t.TempDir()
		for name, text := range map[string]string{"main.cf": main, "master.cf": master} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		code, out := runPostconfWith(dir, test.args...)
		got, err := os.ReadFile(filepath.Join(dir, test.file))
		// Folding puts options on lines of their own.
		text := strings.ReplaceAll(string(got), "\n    ", " ")
		if err != nil || text != test.want || code != test.code || strings.Count(out, "\n") != test.output {
			t.Errorf("%q: exit %d, %s\n%s", test.args, code, out, got)
		}
		if names, err := os.ReadDir(dir); len(names) != 2 || err != nil {
			t.Errorf("%q: left over: %v, %v", test.args, names, err)
		}
	}
}
