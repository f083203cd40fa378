package postconf

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postroad/internal/testkit"
)

// TestBad compares the problems of each file in testdata/bad with the list beside
// it. NAME.cf is a main.cf, NAME.master.cf a master.cf.
func TestBad(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.cf")
	if err != nil || len(files) == 0 {
		t.Fatal("no files", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			main, master := data, []byte(nil)
			if strings.HasSuffix(file, ".master.cf") {
				main, master = nil, data
			}
			c, problems := Parse("", main, master, testOptions())
			problems = Unique(append(problems, c.Check()...))
			var b strings.Builder
			for _, p := range problems {
				kind := "warning"
				if p.Fatal {
					kind = "fatal"
				}
				fmt.Fprintf(&b, "%s: %v\n", kind, p)
			}
			testkit.Golden(t, strings.TrimSuffix(file, ".cf")+".want", b.String(), *update)
		})
	}
}
