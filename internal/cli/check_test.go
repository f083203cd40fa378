package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestCheckRelative: a folder named from here, with tables that are named from it.
func TestCheckRelative(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"main.cf":   "compatibility_level = 3.11\nmyhostname = mx.example.test\nvirtual_alias_maps = texthash:$config_directory/aliases\n",
		"master.cf": "smtp inet n - n - - smtpd\n",
		"aliases":   "a@example.test b@example.test\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, "etc", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	var out, errs bytes.Buffer
	e := &Env{Prog: "check", Args: []string{"-c", "etc"}, Stdout: &out, Stderr: &errs}
	if code := runCheck(e); code != 0 || errs.Len() != 0 {
		t.Errorf("exit code %d: %s%s", code, &out, &errs)
	}
}
