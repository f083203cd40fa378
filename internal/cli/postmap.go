package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"postroad/internal/postconf"
	"postroad/internal/table"
)

// mapSettings are the main.cf parameters that postmap and postalias read.
type mapSettings struct {
	DefaultType string `postconf:"default_database_type"`
	UTF8        bool   `postconf:"smtputf8_enable"`
	Hostname    string `postconf:"myhostname"`
}

// maxQueryLine bounds a line of standard input.
const maxQueryLine = 1 << 20

// mapTool is one run of postmap(1) or postalias(1).
type mapTool struct {
	*Env
	alias    bool
	settings mapSettings
	view     *postconf.View

	incremental, list, asJSON   bool
	keepCase, noUTF8, bare      bool
	files, keepOwner, plainMode bool
	replace, ignore             bool
	body, header, mime          bool
	query, remove               string
	hasQuery, hasRemove         bool
}

// runPostmap is postmap(1).
func runPostmap(e *Env) int { return (&mapTool{Env: e}).run() }

// runPostalias is postalias(1).
func runPostalias(e *Env) int { return (&mapTool{Env: e, alias: true}).run() }

// usage is the text for a wrong command line.
func (m *mapTool) usage() string {
	options := "bfFhimnNoprsuUvw"
	if m.alias {
		options = "Nfinoprsuvw"
	}
	return fmt.Sprintf("usage: %s [-%s] [-c config_dir] [-d key] [-q key] [map_type:]file...", m.Prog, options)
}

func (m *mapTool) run() int {
	spec := "bc:d:fFhijmnNopq:rsuUvw"
	if m.alias {
		spec = "c:d:fijnNopq:rsuvw"
	}
	g := NewGetopt(m.Args, spec)
	dir := m.Getenv("MAIL_CONFIG")
	for {
		option, err := g.Next()
		if err != nil {
			fmt.Fprintf(m.Stderr, "%s: %v\n", m.Prog, err)
			return m.Fatalf(1, "%s", m.usage())
		}
		if option == 0 {
			break
		}
		if option == 'c' {
			dir = g.Arg
			continue
		}
		if err := m.option(option, g.Arg); err != nil {
			return m.Fatalf(1, "%v", err)
		}
	}
	if (m.body || m.header || m.mime) && m.query != "-" {
		return m.Fatalf(1, "specify -b -h or -m only with \"-q -\"")
	}
	if err := m.load(dir); err != nil {
		return m.Fatalf(1, "%v", err)
	}
	if len(g.Args()) == 0 {
		if m.list {
			return 1
		}
		return m.Fatalf(1, "%s", m.usage())
	}
	code, err := m.work(g.Args())
	if err != nil {
		return m.Fatalf(1, "%v", err)
	}
	return code
}

// errOneOf is the complaint about two things to do.
var errOneOf = errors.New("specify only one of -d -i -q or -s")

// option takes one option.
func (m *mapTool) option(option byte, arg string) error {
	flags := map[byte]*bool{
		'b': &m.body, 'f': &m.keepCase, 'F': &m.files, 'h': &m.header, 'i': &m.incremental, 'j': &m.asJSON,
		'm': &m.mime, 'n': &m.bare, 'o': &m.keepOwner, 'p': &m.plainMode, 'r': &m.replace, 's': &m.list,
		'u': &m.noUTF8, 'w': &m.ignore,
	}
	if strings.IndexByte("sqdi", option) >= 0 && (m.list || m.hasQuery || m.hasRemove || m.incremental) {
		return errOneOf
	}
	switch option {
	case 'q':
		m.query, m.hasQuery = arg, true
	case 'd':
		m.remove, m.hasRemove = arg, true
	case 'N':
		m.bare = false
	case 'r', 'w':
		m.replace, m.ignore = option == 'r', option == 'w'
	case 'U', 'v': // nothing here depends on them
	default:
		*flags[option] = true
	}
	return nil
}

// load reads main.cf and opens the log for diagnostics.
func (m *mapTool) load(dir string) error {
	if dir == "" {
		dir = postconf.DefaultDir
	}
	var general Settings
	cfg, problems := postconf.Load(dir, postconf.LoadOptions{Quiet: true, WithoutMaster: true})
	m.view = cfg.View(nil)
	problems = append(problems, m.view.Decode(&m.settings)...)
	problems = append(problems, m.view.Decode(&general)...)
	for i := range problems {
		if problems[i].Fatal {
			return &problems[i]
		}
	}
	m.openLog(&general)
	return nil
}

// split splits "[type:]path".
func (m *mapTool) split(name string) (typ, path string) {
	typ, path = table.SplitSpec(name)
	if typ == "" && !strings.HasPrefix(name, ":") {
		typ = m.settings.DefaultType
	}
	return typ, path
}

// utf8 tells whether text must be UTF-8.
func (m *mapTool) utf8() bool { return m.settings.UTF8 && !m.noUTF8 }

// open opens a table for lookups.
func (m *mapTool) open(name string) (table.Table, error) {
	return table.Open(name, table.Options{
		UTF8: m.utf8(), DefaultType: m.settings.DefaultType, KeepCase: m.keepCase, Warn: m.Warnf, Info: m.Infof,
		Param: m.view.Setting,
	})
}

// work does what the options ask for.
func (m *mapTool) work(names []string) (int, error) {
	switch {
	case m.hasQuery && m.query == "-":
		return m.queryInput(names)
	case m.hasQuery:
		for _, name := range names {
			t, err := m.open(name)
			if err != nil {
				return 1, err
			}
			value, ok, err := m.lookup(t, m.query)
			if err != nil {
				return 1, err
			}
			if ok {
				m.show(m.query, value, m.asJSON)
				return 0, nil
			}
		}
		return 1, nil
	case m.hasRemove:
		return m.removeKeys(names)
	case m.list:
		// Postfix lists the first table only.
		if err := m.listTable(names[0]); err != nil {
			return 1, err
		}
		return 0, nil
	}
	for _, name := range names {
		if err := m.build(name); err != nil {
			return 1, err
		}
	}
	return 0, nil
}

// lookup asks one table, and says what is wrong with its answer.
func (m *mapTool) lookup(t table.Table, key string) (string, bool, error) {
	value, ok, err := t.Lookup(context.Background(), key)
	if err == nil && ok && m.files {
		value, err = m.decode(t, key, value)
	}
	if err != nil {
		return "", false, fmt.Errorf("table %s: query error: %w", t, cause(err))
	}
	if ok && value == "" {
		m.Warnf("table %s: key %s: empty string result is not allowed", t, key)
		m.Warnf("table %s should return NO RESULT in case of NOT FOUND", t)
	}
	return value, ok, nil
}

// cause strips what the caller says again.
func cause(err error) error {
	var named *table.LookupError
	if errors.As(err, &named) {
		return named.Err
	}
	return err
}

// decode returns the files that -F stored.
func (m *mapTool) decode(t table.Table, key, value string) (string, error) {
	data, err := base64.StdEncoding.DecodeString(value)
	if err != nil {
		return "", fmt.Errorf("key %s: malformed BASE64 value: %.30s", key, value)
	}
	return string(data), nil
}

// show prints a result: the value alone, or with its key.
func (m *mapTool) show(key, value string, pair bool) {
	switch {
	case m.asJSON:
		m.Printf("{%s: %s}\n", jsonString(key), jsonString(value))
	case !pair:
		m.Printf("%s\n", value)
	case m.alias:
		m.Printf("%s:\t%s\n", key, value)
	default:
		m.Printf("%s\t%s\n", key, value)
	}
}

// jsonString writes s as JSON, without HTML in mind.
func jsonString(s string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return `""`
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// queryInput looks up each line, or each part of a message, of the standard
// input; the first table with an answer is heard.
func (m *mapTool) queryInput(names []string) (int, error) {
	var tables []table.Table
	for _, name := range names {
		t, err := m.open(name)
		if err != nil {
			return 1, err
		}
		tables = append(tables, t)
	}
	out := bufio.NewWriter(m.Stdout)
	defer out.Flush()
	direct := m.Env
	buffered := *direct
	buffered.Stdout = out
	m.Env = &buffered
	defer func() { m.Env = direct }()

	found := false
	ask := func(key string) error {
		for _, t := range tables {
			value, ok, err := m.lookup(t, key)
			if err != nil {
				return err
			}
			if ok {
				m.show(key, value, true)
				found = true
				return nil
			}
		}
		return nil
	}
	read := m.eachLine
	if m.body || m.header || m.mime {
		read = m.queryMessage
	}
	if err := read(ask); err != nil || !found {
		return 1, err
	}
	return 0, nil
}

// eachLine calls fn with each line of the standard input.
func (m *mapTool) eachLine(fn func(line string) error) error {
	in := bufio.NewScanner(m.Stdin)
	in.Buffer(nil, maxQueryLine)
	for in.Scan() {
		if err := fn(in.Text()); err != nil {
			return err
		}
	}
	return in.Err()
}

// listTable prints a table.
func (m *mapTool) listTable(name string) error {
	t, err := m.open(name)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(m.Stdout)
	defer out.Flush()
	buffered := *m.Env
	buffered.Stdout = out
	printer := *m
	printer.Env = &buffered
	l, ok := t.(table.Lister)
	if !ok {
		return fmt.Errorf("table %s: sequence operation is not supported", t)
	}
	var bad error
	err = l.Each(func(e table.Entry) bool {
		if m.files {
			if e.Value, bad = m.decode(t, e.Key, e.Value); bad != nil {
				return false
			}
		}
		printer.show(e.Key, e.Value, true)
		return true
	})
	if err = errors.Join(err, bad); err != nil {
		return fmt.Errorf("table %s: %w", t, err)
	}
	return nil
}

// openSource opens the text of a table.
func (m *mapTool) openSource(path string) (text string, info os.FileInfo, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", nil, fmt.Errorf("open %s: %w", path, table.Reason(err))
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return "", nil, fmt.Errorf("open %s: %w", path, table.Reason(err))
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return "", nil, fmt.Errorf("read %s: %w", path, table.Reason(err))
	}
	return string(data), info, nil
}
