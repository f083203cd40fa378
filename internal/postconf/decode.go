package postconf

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// tag is what a field of a Settings struct says.
type tag struct {
	name string
	// lmtp says that the struct is also decoded with the lmtp_ names.
	lmtp bool
}

// walkTags calls f for each tagged field of a struct, also of embedded ones.
func walkTags(t reflect.Type, f func(index []int, tag tag)) {
	for _, field := range reflect.VisibleFields(t) {
		text, ok := field.Tag.Lookup("postconf")
		if !ok || !field.IsExported() {
			continue
		}
		name, option, _ := strings.Cut(text, ",")
		f(field.Index, tag{name: name, lmtp: option == "lmtp"})
	}
}

// lmtpName returns the name that the LMTP client uses for a parameter of the SMTP
// client, or the name itself when the two share the parameter.
func lmtpName(name string) string {
	switch name {
	case "smtp_helo_name":
		return "lmtp_lhlo_name"
	case "smtp_helo_timeout":
		return "lmtp_lhlo_timeout"
	case "smtp_discard_ehlo_keywords":
		return "lmtp_discard_lhlo_keywords"
	case "smtp_discard_ehlo_keyword_address_maps":
		return "lmtp_discard_lhlo_keyword_address_maps"
	}
	if rest, ok := strings.CutPrefix(name, "smtp_"); ok && findBuiltin("lmtp_"+rest) != nil {
		return "lmtp_" + rest
	}
	return name
}

// Decode fills the fields of the struct to which dst points that have a tag
// `postconf:"name"`: bool, int, int64, time.Duration, string and []string. The
// default, the unit and the bounds come from the row of the parameter. It returns
// every problem, not only the first; a field with a problem gets its default.
func (v *View) Decode(dst any) []Problem {
	return v.decode(dst, func(name string) string { return name })
}

// DecodeLMTP is Decode for the LMTP client: the smtp_ names in the tags stand for
// the lmtp_ names, where there are such.
func (v *View) DecodeLMTP(dst any) []Problem { return v.decode(dst, lmtpName) }

// DecodeAs is Decode for another program with parameters of the same meaning:
// names in the tags that begin with from stand for those that begin with to, where
// there are such.
func (v *View) DecodeAs(dst any, from, to string) []Problem {
	return v.decode(dst, func(name string) string {
		if rest, ok := strings.CutPrefix(name, from); ok {
			if _, known := Find(to + rest); known {
				return to + rest
			}
		}
		return name
	})
}

// decode is Decode with a function from the name in the tag to the real name.
func (v *View) decode(dst any, rename func(string) string) []Problem {
	ptr := reflect.ValueOf(dst)
	if ptr.Kind() != reflect.Pointer || ptr.Elem().Kind() != reflect.Struct {
		return []Problem{{Fatal: true, Text: fmt.Sprintf("cannot decode parameters into a %T", dst)}}
	}
	var problems []Problem
	walkTags(ptr.Elem().Type(), func(index []int, t tag) {
		name := rename(t.name)
		p, ok := Find(name)
		if !ok {
			problems = append(problems, Problem{Fatal: true, Text: "no row for parameter " + name})
			return
		}
		field := ptr.Elem().FieldByIndex(index)
		if err := v.decodeField(field, p); err != nil {
			problems = append(problems, v.problemOf(name, err))
			v.decodeDefault(field, p)
		}
	})
	return problems
}

// decodeDefault fills a field from the built-in default, so that a caller which
// goes on in spite of a problem has something sane.
func (v *View) decodeDefault(field reflect.Value, p *Param) {
	text, err := Expand(p.Default, v.lookup)
	if err != nil {
		return
	}
	_ = assign(field, p, text) // the built-in default is in order, see params_test.go
}

// decodeField fills one field.
func (v *View) decodeField(field reflect.Value, p *Param) error {
	text, err := v.Value(p.Name)
	if err != nil {
		return err
	}
	return assign(field, p, text)
}

// assign converts text as the row says and stores it in the field.
func assign(field reflect.Value, p *Param, text string) error {
	switch to := field.Addr().Interface().(type) {
	case *bool:
		b, err := parseBool(p, text)
		if err != nil {
			return err
		}
		*to = b
	case *time.Duration:
		d, err := parseTime(p, text)
		if err != nil {
			return err
		}
		*to = d
	case *int:
		n, err := parseInt(p, text)
		if err != nil {
			return err
		}
		*to = int(n)
	case *int64:
		n, err := parseInt(p, text)
		if err != nil {
			return err
		}
		*to = n
	case *string:
		if err := checkLength(p, text); err != nil {
			return err
		}
		*to = text
	case *[]string:
		if err := checkLength(p, text); err != nil {
			return err
		}
		*to = SplitList(text)
	default:
		return fmt.Errorf("parameter %s: cannot be decoded into a %s", p.Name, field.Type())
	}
	return nil
}

// Check reports what is wrong with a value that is already expanded, in the words
// of Postfix.
func (p *Param) Check(text string) error {
	var err error
	switch p.Type {
	case Bool:
		_, err = parseBool(p, text)
	case Int, Long:
		_, err = parseInt(p, text)
	case Time:
		_, err = parseTime(p, text)
	default:
		err = checkLength(p, text)
	}
	return err
}

// parseBool reads yes or no.
func parseBool(p *Param, text string) (bool, error) {
	switch {
	case strings.EqualFold(text, "yes"):
		return true, nil
	case strings.EqualFold(text, "no"):
		return false, nil
	}
	return false, fmt.Errorf("bad boolean configuration: %s = %s", p.Name, text)
}

// parseInt reads a number: 32 bit for Int, 64 bit for Long.
func parseInt(p *Param, text string) (int64, error) {
	bits := 32
	if p.Type == Long {
		bits = 64
	}
	// strtol(3) skips white space before the number.
	n, err := strconv.ParseInt(strings.TrimLeft(text, spaces), 10, bits)
	if err != nil {
		return 0, fmt.Errorf("bad numerical configuration: %s = %s", p.Name, text)
	}
	if p.Min != 0 && n < p.Min {
		return 0, fmt.Errorf("invalid %s parameter value %d < %d", p.Name, n, p.Min)
	}
	if p.Max != 0 && n > p.Max {
		return 0, fmt.Errorf("invalid %s parameter value %d > %d", p.Name, n, p.Max)
	}
	return n, nil
}

// parseTime reads a number with at most one unit; what follows the unit does not
// count.
func parseTime(p *Param, text string) (time.Duration, error) {
	n, err := parseSeconds(text, p.Unit)
	if err != nil {
		return 0, fmt.Errorf("parameter %s: bad time value or unit: %s", p.Name, text)
	}
	if p.Min != 0 && n < p.Min {
		return 0, fmt.Errorf("invalid %s: %d (min %d)", p.Name, n, p.Min)
	}
	if p.Max != 0 && n > p.Max {
		return 0, fmt.Errorf("invalid %s: %d (max %d)", p.Name, n, p.Max)
	}
	return time.Duration(n) * time.Second, nil
}

// errTime is the error of a time that cannot be read.
var errTime = errors.New("bad time value or unit")

// ParseDuration reads a time as Postfix writes it in table values and arguments;
// unit is that of a number without one.
func ParseDuration(text string, unit byte) (time.Duration, error) {
	n, err := parseSeconds(text, unit)
	return time.Duration(n) * time.Second, err
}

// parseSeconds reads a time in seconds.
func parseSeconds(text string, unit byte) (int64, error) {
	text = strings.TrimLeft(text, spaces)
	i := 0
	if i < len(text) && (text[i] == '+' || text[i] == '-') {
		i++
	}
	for i < len(text) && text[i] >= '0' && text[i] <= '9' {
		i++
	}
	n, err := strconv.ParseInt(text[:i], 10, 32)
	if err != nil || n < 0 {
		return 0, errTime
	}
	if i < len(text) {
		unit = text[i]
	}
	var factor int64
	switch unit {
	case 's':
		return n, nil
	case 'm':
		factor = 60
	case 'h':
		factor = 3600
	case 'd':
		factor = 86400
	case 'w':
		factor = 7 * 86400
	default:
		return 0, errTime
	}
	if n >= math.MaxInt32/factor {
		return 0, errTime
	}
	return n * factor, nil
}

// checkLength checks the length of a text.
func checkLength(p *Param, text string) error {
	n := int64(len(text))
	if p.Type != String && p.Type != Raw {
		return nil
	}
	if p.Min != 0 && n < p.Min {
		return fmt.Errorf("bad string length %d < %d: %s = %s", n, p.Min, p.Name, text)
	}
	if p.Max != 0 && n > p.Max {
		return fmt.Errorf("bad string length %d > %d: %s = %s", n, p.Max, p.Name, text)
	}
	return nil
}

// get reads one value as the row of the name says.
func get[T any](v *View, name string, parse func(*Param, string) (T, error)) (T, error) {
	var zero T
	p, ok := Find(name)
	if !ok {
		return zero, fmt.Errorf("no row for parameter %s", name)
	}
	text, err := v.Value(name)
	if err != nil {
		return zero, err
	}
	value, err := parse(p, text)
	if err != nil {
		return zero, &ValueError{v.problemOf(name, err)}
	}
	return value, nil
}

// Bool returns the value of a yes/no parameter.
func (v *View) Bool(name string) (bool, error) { return get(v, name, parseBool) }

// Int returns the value of a number; it serves for names that are formed from
// the name of a transport, which no Settings struct can have.
func (v *View) Int(name string) (int64, error) { return get(v, name, parseInt) }

// Duration returns the value of a time.
func (v *View) Duration(name string) (time.Duration, error) { return get(v, name, parseTime) }

// List returns the items of a value.
func (v *View) List(name string) ([]string, error) {
	value, err := v.Value(name)
	return SplitList(value), err
}
