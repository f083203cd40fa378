package postconf

import (
	"fmt"
	"sort"
	"strings"
)

// Class says where the name of a parameter comes from.
type Class byte

// The classes, as postconf -C names them. They can be added up.
const (
	Builtin    Class = 1 << iota // a row of the tables
	PerService                   // formed from the name of a service
	User                         // defined by the site
)

// Usage is what is known about the names in a configuration: which ones have a
// meaning, and for the others that they have none.
type Usage struct {
	cfg *Config
	// valid has the names of class PerService and User.
	valid map[string]Class
	// local has, for each service with "-o" settings, the names of its own that
	// have a meaning there.
	local map[*Service]map[string]bool
	// restrictions are the names in smtpd_restriction_classes of main.cf.
	restrictions map[string]bool
	// clients are the client configuration files of databases, in the order in
	// which they are named.
	clients   []clientFile
	known     map[string]bool
	undefined map[string]bool
	warnings  []Problem
	errors    []Problem
}

// Usage examines the names. A name of the site's own has a meaning when some
// value refers to it with a "$", or when it is a restriction class, or when it
// belongs to the settings of an old style database table. known are further names
// that have one.
func (c *Config) Usage(known map[string]bool) *Usage {
	u := &Usage{
		cfg: c, known: known,
		valid:        map[string]Class{},
		local:        map[*Service]map[string]bool{},
		restrictions: map[string]bool{},
		undefined:    map[string]bool{},
	}
	u.addServiceNames()
	u.scan()
	return u
}

// Class returns the class of a name, or 0 when it has no meaning.
func (u *Usage) Class(name string) Class {
	if findBuiltin(name) != nil {
		if u.valid[name] == PerService {
			return PerService
		}
		return Builtin
	}
	return u.valid[name]
}

// Names returns the names of the given classes, sorted.
func (u *Usage) Names(classes Class) []string {
	var names []string
	Params(func(p *Param) {
		if u.Class(p.Name)&classes != 0 {
			names = append(names, p.Name)
		}
	})
	for name, class := range u.valid {
		if class&classes != 0 && findBuiltin(name) == nil {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return names
}

// addServiceNames adds the parameters that are formed from the names of services.
func (u *Usage) addServiceNames() {
	for _, s := range u.cfg.Services {
		switch s.Command {
		case "local", "error", "virtual", "smtp", "lmtp":
			for i := range rowsSuffix {
				if rowsSuffix[i].Name != "_time_limit" {
					u.valid[s.Name+rowsSuffix[i].Name] = PerService
				}
			}
		case "pipe":
			for i := range rowsSuffix {
				u.valid[s.Name+rowsSuffix[i].Name] = PerService
			}
		case "spawn":
			u.valid[s.Name+"_time_limit"] = PerService
		}
	}
}

// scan looks for references: in the "-o" settings, in the defaults that count,
// and in main.cf. The order is that of postconf(1), whose warnings depend on it.
func (u *Usage) scan() {
	for _, s := range u.cfg.Services {
		if len(s.Overrides) > 0 {
			u.local[s] = map[string]bool{}
		}
	}
	for _, s := range u.cfg.Services {
		if len(s.Overrides) > 0 {
			u.scanService(s)
		}
	}
	Params(func(p *Param) {
		if _, set := u.cfg.lookupMain(p.Name); !set && p.Type != Raw {
			u.scanDefault(p.Default)
		}
	})
	for name := range u.valid {
		if p, ok := findSuffix(name); ok && !u.isSet(name) {
			u.scanDefault(p.Default)
		}
	}
	u.scanMain()
}

// isSet reports whether main.cf or the command line sets a name.
func (u *Usage) isSet(name string) bool {
	_, ok := u.cfg.lookupMain(name)
	return ok
}

// scanService looks at the "-o" settings of a service.
func (u *Usage) scanService(s *Service) {
	v := u.cfg.View(s)
	if _, ok := s.Override("smtpd_restriction_classes"); ok {
		if value, err := v.Value("smtpd_restriction_classes"); err == nil {
			for _, name := range SplitList(value) {
				u.refer(name, s, false)
			}
		}
	}
	for _, o := range s.Overrides {
		u.scanSetting(o.Name, o.Value, s, v)
	}
}

// scanMain looks at the settings of main.cf and the command line.
func (u *Usage) scanMain() {
	v := u.cfg.View(nil)
	if value, err := v.Value("smtpd_restriction_classes"); err == nil && u.isSet("smtpd_restriction_classes") {
		for _, name := range SplitList(value) {
			u.restrictions[name] = true
			u.refer(name, nil, false)
		}
	}
	for _, s := range u.cfg.Services {
		for _, o := range s.Overrides {
			if u.restrictions[o.Name] {
				u.local[s][o.Name] = true
			}
		}
	}
	for _, name := range u.cfg.mainNames() {
		value, _ := u.cfg.lookupMain(name)
		if findIn(rowsLegacy, name) != nil || findIn(rowsLater, name) != nil {
			u.valid[name] = User
		}
		u.scanSetting(name, value, nil, v)
	}
}

// scanSetting looks at one setting.
func (u *Usage) scanSetting(name, value string, s *Service, v *View) {
	if p := findBuiltin(name); p != nil && p.Type == Raw {
		return
	}
	err := u.scanValue(value, s)
	if u.Class(name)&(Builtin|PerService) == 0 {
		if err != nil {
			_, o, _ := v.Raw(name)
			u.warnings = append(u.warnings, Problem{Origin: o, Text: inValue(err, name)})
		}
		return
	}
	expanded, err := v.Expand(value)
	if err != nil {
		_, o, _ := v.Raw(name)
		u.errors = append(u.errors, Problem{Fatal: true, Origin: o, Text: inValue(err, name)})
		return
	}
	u.scanTables(name, expanded, s, true)
}

// scanValue marks the names to which a value refers.
func (u *Usage) scanValue(value string, s *Service) error {
	if strings.IndexByte(value, '$') < 0 {
		return nil
	}
	return References(value, func(name string) { u.refer(name, s, false) })
}

// scanDefault marks the names to which a built-in default refers.
func (u *Usage) scanDefault(value string) {
	_ = u.scanValue(value, nil) // a built-in default has no error, see params_test.go
}

// Errors returns what makes a program stop as soon as it reads a parameter: values
// that cannot be expanded.
func (u *Usage) Errors() []Problem { return u.errors }

// refer marks a name to which something in the scope of s, or in main.cf when s
// is nil, refers. table says that the name is only a guess.
func (u *Usage) refer(name string, s *Service, table bool) {
	given := false
	mark := func() {
		if u.Class(name) == 0 {
			u.valid[name] = User
		}
		given = true
	}
	if s != nil {
		if _, ok := s.Override(name); ok {
			u.local[s][name] = true
			given = true
		} else if u.isSet(name) {
			mark()
		}
	} else {
		if u.isSet(name) {
			mark()
		}
		for _, other := range u.cfg.Services {
			if _, ok := other.Override(name); ok {
				u.local[other][name] = true
				given = true
			}
		}
	}
	if given || table || u.Class(name) != 0 {
		return
	}
	// A former or a future name stands in a default, or is known to have none.
	if _, known := Find(name); known || u.known[name] {
		return
	}
	o := Origin{File: u.cfg.Main.File}
	if s != nil {
		o = s.Origin
	}
	key := fmt.Sprintf("%s\x00%s", o, name)
	if !u.undefined[key] {
		u.undefined[key] = true
		u.warnings = append(u.warnings, Problem{Origin: o, Text: "undefined parameter: " + name})
	}
}

// scanTables looks for old style database tables in a value, such as mysql:name,
// whose settings are in parameters that begin with the name. On the way it finds
// comments at the end of a value.
func (u *Usage) scanTables(param, value string, s *Service, nested bool) {
	warn := func(text string) {
		var o Origin
		if s != nil {
			o = s.Origin
		} else {
			_, o, _ = u.cfg.View(nil).Raw(param)
		}
		u.warnings = append(u.warnings, Problem{Origin: o, Text: text})
	}
	items := SplitList(value)
	for i, item := range items {
		if item[0] == '#' {
			warn("#comment after other text is not allowed: " + item + " " + behind(value, items[:i+1]) + "...")
			return
		}
		if item[0] == '{' {
			inner, why := Unbrace(item)
			if why != "" {
				warn(why)
			}
			if nested {
				u.scanTables(param, inner, s, nested)
			}
			continue
		}
		typ, name, ok := strings.Cut(item, ":")
		for ok && (typ == "proxy" || typ == "debug") {
			typ, name, ok = strings.Cut(name, ":")
		}
		switch {
		case !ok || name == "":
		case name[0] == '/' || name[0] == '.':
			u.addClient(typ, name)
		case name[0] == '{':
			inner, why := Unbrace(name)
			if why != "" {
				warn(why)
			}
			u.scanTables(param, inner, s, nested && typ != "regexp" && typ != "pcre")
		default:
			for _, suffix := range tableSettings(typ) {
				u.refer(name+"_"+suffix, s, true)
			}
		}
	}
}

// behind returns what stands behind the given first items of a list, without the
// character that ends the last of them, for a message.
func behind(list string, items []string) string {
	for _, item := range items {
		list = list[strings.Index(list, item)+len(item):]
	}
	if list != "" {
		list = list[1:]
	}
	return list[:min(len(list), 20)]
}

// tableSettings returns the names of the settings of a type of database table.
func tableSettings(typ string) []string {
	var names string
	switch typ {
	case "ldap":
		names = "bind bind_dn bind_pw cache cache_expiry cache_size chase_referrals debuglevel dereference domain expansion_limit leaf_result_attribute query_filter recursion_limit result_attribute result_filter result_format sasl_authz_id sasl_mechs sasl_minssf sasl_realm scope search_base server_host server_port size_limit special_result_attribute start_tls terminal_result_attribute timeout tls_ca_cert_dir tls_ca_cert_file tls_cert tls_cipher_suite tls_key tls_random_file tls_require_cert version"
	case "mysql":
		names = "additional_conditions charset dbname domain expansion_limit hosts idle_interval option_file option_group password query require_result_set result_format retry_interval select_field table tls_CAfile tls_CApath tls_cert_file tls_ciphers tls_key_file tls_verify_cert user where_field"
	case "pgsql":
		names = "additional_conditions dbname domain encoding expansion_limit hosts idle_interval password query result_format retry_interval select_field select_function table user where_field"
	case "sqlite":
		names = "additional_conditions dbpath domain expansion_limit query result_format select_field table where_field"
	case "memcache":
		names = "backup data_size_limit domain flags key_digest key_format line_size_limit max_try memcache retry_pause timeout ttl"
	case "mongodb":
		names = "collection dbname domain expansion_limit projection query_filter result_attribute result_format uri"
	}
	return strings.Fields(names)
}

// lookupMain returns the setting of the command line or of main.cf.
func (c *Config) lookupMain(name string) (string, bool) {
	for i := len(c.overrides) - 1; i >= 0; i-- {
		if c.overrides[i].Name == name {
			return c.overrides[i].Value, true
		}
	}
	if s, ok := c.Main.settings[name]; ok {
		return s.Value, true
	}
	return "", false
}

// mainNames returns the names that the command line or main.cf sets, sorted.
func (c *Config) mainNames() []string {
	names := c.Main.Names()
	for _, o := range c.overrides {
		if _, ok := c.Main.settings[o.Name]; !ok {
			names = append(names, o.Name)
		}
	}
	sort.Strings(names)
	return names
}
