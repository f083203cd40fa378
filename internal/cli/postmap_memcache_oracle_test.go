//go:build oracle

package cli

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postroad/internal/testkit"
)

// memcacheSteps are played with each of memcacheFiles in the place of FILE.
var memcacheSteps = []string{
	"postmap -q key5 memcache:DIR/FILE", "postmap -q a memcache:DIR/FILE", "postmap -d key5 memcache:DIR/FILE",
	"postmap -i memcache:DIR/FILE < k1 v1\nKey5 w\n a\nK1 v2\nx:y z\n", "postmap -q k1 memcache:DIR/FILE", "postmap -q KEY5 memcache:DIR/FILE",
	"postmap -i -r memcache:DIR/FILE < k1 v3\n", "postmap -q k1 memcache:DIR/FILE", "postmap -i -w memcache:DIR/FILE < k1 v4\n",
	"postmap -q - memcache:DIR/FILE < k1\nnone\nx:y\n", "postmap -d - memcache:DIR/FILE < k1\nnone\n", "postmap -q k1 memcache:DIR/FILE",
	"postmap -d k1 memcache:DIR/FILE", "postmap -d x_y memcache:DIR/FILE", "postmap -d key5 memcache:DIR/FILE", "postmap -q key5 memcache:DIR/FILE",
	"postmap memcache:DIR/FILE",
	"postmap -i memcache:DIR/FILE < m1 v1\n", "postmap -d m1 hash:DIR/text", "postmap -d m1 memcache:DIR/FILE", "postmap -q m1 memcache:DIR/FILE",
}

// memcacheFiles are client settings: without a table behind, and with one that can be
// read only or written too.
var memcacheFiles = map[string]string{
	"plain.cf": "",
	"ro.cf":    "key_format = ro:%s\nbackup = texthash:DIR/text\n",
	"rw.cf":    "key_format = rw:%s\nbackup = hash:DIR/text\n",
}

// memcacheStage makes a directory with a memcached of its own.
func memcacheStage(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	testkit.Memcached(t, filepath.Join(dir, "server"))
	files := map[string]string{"main.cf": "compatibility_level = 3.6\nmyhostname = mx.example.test\n", "text": "key5 backed up\na b\n"}
	for name, text := range memcacheFiles {
		files[name] = strings.ReplaceAll("memcache = unix:DIR/server\n"+text, "DIR", dir)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := runMapStep(dir, "postmap hash:DIR/text"); !strings.Contains(got, "[0]") {
		t.Fatal(got)
	}
	return dir
}

// memcacheText is what all steps say.
func memcacheText(t *testing.T, step func(dir, step string) string) string {
	dir := memcacheStage(t)
	var out strings.Builder
	for _, name := range slices.Sorted(maps.Keys(memcacheFiles)) {
		for _, line := range memcacheSteps {
			out.WriteString(step(dir, strings.ReplaceAll(line, "FILE", name)))
		}
	}
	return out.String()
}

// TestPostmapMemcache changes a memcached with our postmap, and with that of a Postfix
// of -mapsbin. Debian's Postfix has no -i for this type, so what 3.11 says is in a file.
func TestPostmapMemcache(t *testing.T) {
	t.Parallel()
	got := memcacheText(t, runMapStep)
	testkit.Golden(t, "testdata/postmap_memcache.golden", got, *update)
	if *mapSbin == "/usr/sbin" {
		return
	}
	if theirs := memcacheText(t, func(dir, step string) string { return theirStep(t, dir, step) }); got != theirs {
		t.Errorf("Postfix says otherwise: %s", testkit.Parted(got, theirs))
	}
}
