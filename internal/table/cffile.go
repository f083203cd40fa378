package table

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
)

// maxClientFile bounds the size of a client configuration file.
const maxClientFile = 1 << 20

// clientConfig has the settings of a table that asks a database or a directory:
// the "name = value" file that stands after "type:", or, for a name that begins
// with neither "/" nor ".", the parameters NAME_setting of main.cf.
//
// The first mistake is kept in err, so that the code that reads the settings
// needs no branch for each. A message never quotes a line of the file, because
// it may be that of the password.
type clientConfig struct {
	// name is the file, or the prefix of the parameters.
	name string
	// get returns the text of a setting, and whether it is there.
	get func(name string) (string, bool)
	err error
}

// errNoParameters is the cause when the settings would be in a main.cf that is
// not at hand.
var errNoParameters = errors.New("no main.cf parameters are available here")

// openClientConfig reads the settings of type:name.
func openClientConfig(name string, o *Options) (*clientConfig, error) {
	if name[0] != '/' && name[0] != '.' {
		if o.Param == nil {
			return nil, fmt.Errorf("%s: %w: use the name of a file", name, errNoParameters)
		}
		get := func(setting string) (string, bool) { return o.Param(name + "_" + setting) }
		return &clientConfig{name: name, get: get}, nil
	}
	text, err := readClientFile(o.path(name), o.open)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, Reason(err))
	}
	settings, err := parseClientFile(name, text, o)
	if err != nil {
		return nil, err
	}
	get := func(setting string) (string, bool) { value, ok := settings[setting]; return value, ok }
	return &clientConfig{name: name, get: get}, nil
}

// readClientFile reads the whole file, bounded.
func readClientFile(path string, open func(path string) (*os.File, error)) (string, error) {
	f, err := open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxClientFile+1))
	if err == nil && len(text) > maxClientFile {
		err = fmt.Errorf("larger than %d bytes", maxClientFile)
	}
	return string(text), err
}

// parseClientFile reads the lines of a client configuration file. They look like
// those of main.cf, but "$" has no meaning. The last line of a name counts.
func parseClientFile(name, text string, o *Options) (map[string]string, error) {
	settings := make(map[string]string)
	r := lineReader{rest: text}
	for line, ok := r.next(); ok; line, ok = r.next() {
		if isSpace(line.text[0]) {
			o.warnf("%s, line %d: logical line must not start with whitespace", name, line.number)
			continue
		}
		setting, value, found := strings.Cut(line.text, "=")
		setting = trimSpace(setting)
		switch {
		case setting == "" && found:
			return nil, fmt.Errorf("%s, line %d: missing attribute name", name, line.number)
		case !found || strings.ContainsAny(setting, asciiSpace):
			return nil, fmt.Errorf("%s, line %d: missing '=' after attribute name", name, line.number)
		}
		if _, again := settings[setting]; again {
			o.warnf("%s, line %d: overriding earlier entry: %s", name, line.number, setting)
		}
		settings[setting] = trimSpace(value)
	}
	return settings, nil
}

// fail keeps the first mistake.
func (c *clientConfig) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
}

// text returns a setting; absent and def is what counts.
func (c *clientConfig) text(name, def string) string {
	if value, ok := c.get(name); ok {
		return value
	}
	return def
}

// needed is text for a setting that must not be empty.
func (c *clientConfig) needed(name, def string) string {
	value := c.text(name, def)
	if value == "" {
		c.fail("%s: bad string length 0 < 1: %s = ", c.name, name)
	}
	return value
}

// number returns a whole number of at least low.
func (c *clientConfig) number(name string, def, low int) int {
	text, ok := c.get(name)
	if !ok {
		return def
	}
	n, err := strconv.Atoi(text)
	if err != nil || n > math.MaxInt32 || n < math.MinInt32 {
		c.fail("%s: bad numerical configuration: %s = %s", c.name, name, clip(text, 100))
		return def
	}
	if n < low {
		c.fail("%s: invalid %s parameter value %d < %d", c.name, name, n, low)
		return def
	}
	return n
}

// yes returns a boolean setting.
func (c *clientConfig) yes(name string, def bool) bool {
	text, ok := c.get(name)
	switch {
	case !ok:
		return def
	case strings.EqualFold(text, "yes"):
		return true
	case !strings.EqualFold(text, "no"):
		c.fail("%s: bad boolean configuration: %s = %s", c.name, name, clip(text, 100))
		return def
	}
	return false
}

// list returns the members of a setting that is a list.
func (c *clientConfig) list(name string) []string {
	return strings.FieldsFunc(c.text(name, ""), func(r rune) bool { return strings.ContainsRune(commaSpace, r) })
}
