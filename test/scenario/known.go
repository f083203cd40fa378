package scenario

import (
	"fmt"
	"os"
	"strings"
)

// LoadKnown reads the list of scenarios that are known to differ: a name and
// the reason on each line. The list is there to become empty.
func LoadKnown(path string) (map[string]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	known := map[string]string{}
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, reason, ok := strings.Cut(line, " ")
		if !ok {
			return nil, fmt.Errorf("%s, line %d: a reason is missing", path, i+1)
		}
		known[name] = strings.TrimSpace(reason)
	}
	return known, nil
}
