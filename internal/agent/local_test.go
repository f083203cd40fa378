package agent

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postroad/internal/privdeliver"
)

func TestCommandArgv(t *testing.T) {
	t.Parallel()
	for cmd, want := range map[string][]string{
		"/bin/cat -n":   {"/bin/cat", "-n"},
		"exec /bin/cat": {"/bin/sh", "-c", "exec /bin/cat"},
		"cat > /tmp/x":  {"/bin/sh", "-c", "cat > /tmp/x"},
		"IFS=' ' && x":  {"/bin/sh", "-c", "IFS=' ' && x"},
	} {
		if got := commandArgv(cmd, ""); !slices.Equal(got, want) {
			t.Errorf("%q: %q", cmd, got)
		}
	}
	if got := commandArgv("x y", "/bin/rsh -c"); !slices.Equal(got, []string{"/bin/rsh", "-c", "x y"}) {
		t.Errorf("local_command_shell: %q", got)
	}
}

func TestCommandResult(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		in   privdeliver.Result
		want string
	}{
		"ok":       {privdeliver.Result{}, "sent 2.0.0 delivered to command: cmd"},
		"nouser":   {privdeliver.Result{Class: privdeliver.Failed, Exit: 67, Output: []byte("who?\n")}, "bounced 5.1.1 user unknown. Command output: who? "},
		"tempfail": {privdeliver.Result{Class: privdeliver.Failed, Exit: 75}, "deferred 4.3.0 temporary failure"},
		"other":    {privdeliver.Result{Class: privdeliver.Failed, Exit: 1}, `bounced 5.3.0 Command died with status 1: "cmd"`},
		"own code": {privdeliver.Result{Class: privdeliver.Failed, Exit: 1, Output: []byte("4.7.1 not now")}, "deferred 4.7.1 not now"},
		"signal":   {privdeliver.Result{Class: privdeliver.Failed, Exit: -1, Text: "Command died with signal 9"}, `deferred 4.3.0 Command died with signal 9: "cmd"`},
		"not run":  {privdeliver.Result{Class: privdeliver.NotFound, Text: "no such file"}, "deferred 4.3.0 no such file"},
	} {
		res := commandResult(test.in, "cmd")
		if got := res.Outcome.String() + " " + res.Enhanced + " " + res.Text; got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

func TestPasswd(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "passwd")
	if err := os.WriteFile(file, []byte("root:x:0:0:root:/root:/bin/sh\nbroken\njoe:x:1000:100:Joe:/home/joe:/bin/sh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &passwd{path: file}
	u, err := p.lookup("joe")
	if err != nil || u == nil || u.uid != 1000 || u.gid != 100 || u.home != "/home/joe" {
		t.Errorf("joe: %+v %v", u, err)
	}
	if u, err := p.lookup("ann"); u != nil || err != nil {
		t.Errorf("ann: %+v %v", u, err)
	}
	if _, err := (&passwd{path: file + "x"}).lookup("joe"); err == nil {
		t.Error("a missing database is no temporary failure")
	}
}

func TestScanDelivered(t *testing.T) {
	t.Parallel()
	header := "Received: x\r\nDelivered-To: Joe@X.test\r\n\r\nDelivered-To: ann@x.test\r\n"
	got, err := scanDelivered(strings.NewReader(header))
	if err != nil || !maps.Equal(got, map[string]bool{"joe@x.test": true}) {
		t.Errorf("%v %v", got, err)
	}
}

func FuzzScanDelivered(f *testing.F) {
	f.Add("Delivered-To: a@b\r\n\r\n")
	f.Fuzz(func(t *testing.T, header string) {
		found, err := scanDelivered(strings.NewReader(header))
		if err != nil {
			t.Fatal(err)
		}
		for addr := range found {
			if addr != strings.ToLower(strings.TrimSpace(addr)) {
				t.Errorf("%q is not folded", addr)
			}
		}
	})
}
