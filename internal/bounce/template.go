package bounce

import (
	"fmt"
	"io"
	"maps"
	"strings"
	"time"

	"golang.org/x/net/idna"

	"postroad/internal/postconf"
)

// template is what a report says to people, and how its header names it.
type template struct {
	// file is where the template comes from, for warnings.
	file                              string
	charset, from, subject, pmSubject string
	// text has $names of main.cf in it.
	text string
}

// Templates are the templates of a generation: built in, or of the file that
// bounce_template_file names.
type Templates struct {
	byLabel, builtIn map[string]template
	values           Values
}

// Values are the parameters that texts may name: Value gives one with its own
// $names filled in, ok being false for one that nobody knows.
type Values func(name string) (value string, ok bool, err error)

// ofView are the values of a configuration.
func ofView(v *postconf.View) Values {
	utf8, _ := v.Bool("smtputf8_enable")
	return func(name string) (string, bool, error) {
		if _, known := postconf.Find(name); !known && !v.IsSet(name) {
			return "", false, nil
		}
		value, err := v.Value(name)
		if utf8 && (name == "myhostname" || name == "mydomain") {
			if text, uerr := idna.Punycode.ToUnicode(value); uerr == nil {
				value = text
			}
		}
		return value, true, err
	}
}

// BuiltIn are the templates without a file. form is header_from_format.
func BuiltIn(form string, values Values) *Templates {
	from := "Mail Delivery System <MAILER-DAEMON>"
	if form == "obsolete" {
		from = "MAILER-DAEMON (Mail Delivery System)"
	}
	t := &Templates{builtIn: map[string]template{}, values: values}
	for _, k := range kinds {
		t.builtIn[k.label] = template{
			file: "[built-in]", charset: "us-ascii", from: from, subject: k.subject, pmSubject: k.copySubject, text: k.text,
		}
	}
	t.byLabel = maps.Clone(t.builtIn)
	return t
}

// ReadTemplates are the templates of a configuration. file takes the place of
// bounce_template_file; read reads it. What is wrong with one template is a
// warning, and the built-in one stays; an error is about the whole file.
func ReadTemplates(v *postconf.View, file string, read func(string) ([]byte, error), warn func(format string, args ...any)) (*Templates, error) {
	form, err := v.Value("header_from_format")
	if err != nil {
		return nil, err
	}
	t := BuiltIn(form, ofView(v))
	if file == "" {
		return t, nil
	}
	text, err := read(file)
	if err != nil {
		return t, err
	}
	return t, t.parse(file, string(text), warn)
}

// parse takes the templates of a file: "NAME_template = <<END", lines, "END".
func (t *Templates) parse(file, text string, warn func(format string, args ...any)) error {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	bodies := map[string][]string{}
	for i := 0; i < len(lines); {
		line := lines[i]
		i++
		if strings.TrimSpace(line) == "" || line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok || strings.TrimSpace(name) == "" {
			return fmt.Errorf("%s, line %d: missing '=' after attribute name: %q", file, i+1, line)
		}
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		body := []string{value}
		if end, here := strings.CutPrefix(value, "<<"); here {
			end = strings.TrimSpace(end)
			body = nil
			for ; i < len(lines) && lines[i] != end; i++ {
				body = append(body, lines[i])
			}
			if i == len(lines) {
				warn("%s, line %d: missing %q end marker", file, i+1, end)
			}
			i++
		}
		label, found := strings.CutSuffix(name, "_template")
		if _, known := t.byLabel[label]; !found || !known {
			warn("%s, line %d: unknown template name: %s -- ignoring this template", file, i+1, name)
			continue
		}
		bodies[label] = body
	}
	for _, k := range kinds {
		if body, ok := bodies[k.label]; ok {
			t.set(file, k.label, body, warn)
		}
	}
	return nil
}

// set takes one template, unless something is wrong with it.
func (t *Templates) set(file, label string, body []string, warn func(format string, args ...any)) {
	tpl := t.builtIn[label]
	tpl.file = file
	fields := map[string]*string{
		"charset": &tpl.charset, "from": &tpl.from, "subject": &tpl.subject, "postmaster-subject": &tpl.pmSubject,
	}
	for len(body) > 0 && body[0] != "" {
		name, value, ok := strings.Cut(body[0], ":")
		if !ok || name == "" || strings.ContainsAny(name, " \t") {
			break
		}
		field := fields[strings.ToLower(name)]
		value = strings.TrimSpace(value)
		switch {
		case field == nil:
			warn("%s: unknown %q header label in %s template -- ignoring this template", file, name, label)
			return
		case value == "":
			warn("%s: empty %q header value in %s template -- ignoring this template", file, name, label)
			return
		case !isASCII(value):
			warn("%s: non-ASCII %q header value in %s template -- ignoring this template", file, name, label)
			return
		}
		*field = value
		body = body[1:]
	}
	if len(body) > 0 && body[0] == "" {
		body = body[1:]
	}
	if len(body) == 0 {
		warn("%s: missing message text in %s template -- ignoring this template", file, label)
		return
	}
	tpl.text = strings.Join(body, "\n") + "\n"
	if strings.EqualFold(tpl.charset, "us-ascii") && !isASCII(tpl.text) {
		warn("%s: 8-bit message text in %s template", file, label)
		warn("please specify a charset value other than us-ascii")
		warn("-- ignoring this template for now")
		return
	}
	t.byLabel[label] = tpl
}

// units are the endings of the names of times in a text.
var units = map[string]time.Duration{
	"seconds": time.Second, "minutes": time.Minute, "hours": time.Hour, "days": 24 * time.Hour, "weeks": 7 * 24 * time.Hour,
}

// expand fills in the $names of a text.
func (t *Templates) expand(label string, warn func(format string, args ...any)) (string, error) {
	tpl := t.byLabel[label]
	var out strings.Builder
	for line := range strings.Lines(tpl.text) {
		line = strings.TrimSuffix(line, "\n")
		unknown := false
		text, err := postconf.ExpandOnce(line, func(name string) (string, bool) {
			value, ok := t.value(tpl.file, label, name, warn)
			unknown = unknown || !ok
			return value, ok
		})
		if err != nil {
			return "", fmt.Errorf("%s: bad $name syntax in %s template: %s", tpl.file, label, line)
		}
		if unknown {
			return "", fmt.Errorf("%s: undefined $name in %s template: %s", tpl.file, label, line)
		}
		out.WriteString(text + "\n")
	}
	return out.String(), nil
}

// value is that of one name of a text. A time can be had in any unit.
func (t *Templates) value(file, label, name string, warn func(format string, args ...any)) (string, bool) {
	for _, param := range []string{"delay_warning_time", "maximal_queue_lifetime"} {
		unit, found := strings.CutPrefix(name, param+"_")
		length := units[unit]
		if !found || length == 0 {
			continue
		}
		text, ok, err := t.values(param)
		p, _ := postconf.Find(param)
		d, terr := postconf.ParseDuration(text, p.Unit)
		if !ok || err != nil || terr != nil {
			return "", false
		}
		if d > 0 && d < length {
			warn("%s: zero result in %s template conversion of parameter %q", file, label, name)
			warn("please reduce time unit %q of %q in %s template", unit, name, label)
			warn("for instructions see the bounce(5) manual")
		}
		return fmt.Sprint(int64(d / length)), true
	}
	value, ok, err := t.values(name)
	return value, ok && err == nil
}

// check expands every text once, so that a mistake shows at the start and not when
// a report is due. A template that cannot be expanded is replaced by the built-in.
func (t *Templates) check(warn func(format string, args ...any)) {
	for _, k := range kinds {
		if _, err := t.expand(k.label, func(string, ...any) {}); err != nil {
			warn("%v -- ignoring this template", err)
			t.byLabel[k.label] = t.builtIn[k.label]
		}
	}
}

// Dump writes the templates as a file has them: postconf -t.
func (t *Templates) Dump(w io.Writer) {
	for i, k := range kinds {
		tpl := t.byLabel[k.label]
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "%s_template = <<EOF\nCharset: %s\nFrom: %s\nSubject: %s\n", k.label, tpl.charset, tpl.from, tpl.subject)
		if tpl.pmSubject != "" {
			fmt.Fprintf(w, "Postmaster-Subject: %s\n", tpl.pmSubject)
		}
		fmt.Fprintf(w, "\n%sEOF\n", tpl.text)
	}
}

// DumpText writes the texts with their $names filled in: postconf -b.
func (t *Templates) DumpText(w io.Writer, warn func(format string, args ...any)) error {
	for i, k := range kinds {
		text, err := t.expand(k.label, warn)
		if err != nil {
			return err
		}
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "expanded_%s_text = <<EOF\n%sEOF\n", k.label, text)
	}
	return nil
}
