package sasl

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// What Cyrus SASL has where its configuration file says nothing.
const (
	cyrusDirs = "/etc/postfix/sasl:/usr/lib/sasl2:/etc/sasl2"
	cyrusMux  = "/var/run/saslauthd/mux"
	cyrusDB   = "/etc/sasldb2"
	cyrusUsed = "smtpd"
	cyrusSize = 64 << 10 // of a configuration file
)

// cyrusWords are those of the Cyrus library, as Postfix has them in its log.
var cyrusWords = words{
	wrong: "authentication failure", malformed: "bad protocol / cancel", later: "generic failure",
	noMechanism: "no mechanism available",
	plain:       []string{"Password verification failed"},
	other:       []string{"Requested identity not authenticated identity"},
	form:        []string{"Can only find author/en (no password)"},
}

// cyrusConfig is a configuration file of an application of Cyrus SASL.
type cyrusConfig map[string]string

// parseCyrus reads lines of the form "option: value". What is not of that form is
// an error, as in the library.
func parseCyrus(text string) (cyrusConfig, error) {
	c := cyrusConfig{}
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		name = strings.ToLower(strings.TrimSpace(name))
		if !ok || name == "" || strings.ContainsFunc(name, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_' && r != '-'
		}) {
			return nil, fmt.Errorf("line %d: option: value expected", i+1)
		}
		c[name] = strings.TrimSpace(value)
	}
	return c, nil
}

// get returns an option, or what stands for it.
func (c cyrusConfig) get(name, other string) string {
	if v := c[name]; v != "" {
		return v
	}
	return other
}

// readCyrus finds and reads the configuration file; none is an empty one.
func readCyrus(s *Settings, d *Deps) (c cyrusConfig, path string, err error) {
	read := d.Read
	if read == nil {
		read = os.ReadFile
	}
	dirs, app := s.ConfigPath, s.Path
	if dirs == "" {
		dirs = cyrusDirs
	}
	if app == "" {
		app = cyrusUsed
	}
	if strings.Contains(app, "/") {
		return nil, "", fmt.Errorf("smtpd_sasl_path = %s: with smtpd_sasl_type = cyrus it is the name of a file without .conf", app)
	}
	for _, dir := range filepath.SplitList(dirs) {
		path = filepath.Join(dir, app+".conf")
		text, err := read(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, path, err
		}
		if len(text) > cyrusSize {
			return nil, path, fmt.Errorf("%s: larger than %d bytes", path, cyrusSize)
		}
		c, err := parseCyrus(string(text))
		if err != nil {
			return nil, path, fmt.Errorf("%s: %w", path, err)
		}
		return c, path, nil
	}
	return cyrusConfig{}, path, nil
}

// instead says what to use in place of a method that is not here.
const instead = `: use "saslauthd" (for PAM, LDAP and the rest that saslauthd can), "auxprop" with auxprop_plugin: sasldb, ` +
	`or smtpd_sasl_type = postroad with smtpd_sasl_path = type:table of user names and password hashes (SQL and LDAP too)`

// newCyrus makes the server of smtpd_sasl_type = cyrus: what the library would do
// with its configuration file.
func newCyrus(s *Settings, pol policy, d *Deps) (Server, error) {
	c, path, err := readCyrus(s, d)
	if err != nil {
		return nil, err
	}
	var a accounts
	realm := realms{domain: s.LocalDomain, host: s.Hostname}
	method := strings.ToLower(c.get("pwcheck_method", "auxprop"))
	plugin := strings.ToLower(c.get("auxprop_plugin", "sasldb"))
	switch {
	case method == "saslauthd":
		a = &saslauthd{realms: realm, path: c.get("saslauthd_path", cyrusMux), service: s.Service}
	case method != "auxprop":
		return nil, fmt.Errorf("%s: pwcheck_method: %s is not supported%s", path, method, instead)
	case plugin != "sasldb":
		return nil, fmt.Errorf("%s: auxprop_plugin: %s is not supported%s", path, plugin, instead)
	default:
		a = &sasldb{realms: realm, table: d.Accounts(c.get("sasldb_path", cyrusDB))}
	}
	srv, err := newLocal(pol, a, cyrusWords, s.Hostname)
	if err != nil {
		return nil, err
	}
	// Names of mechanisms that are not here are no error: the list says what
	// may be used of those that are installed.
	srv.mechs, err = chooseMechanisms("", strings.FieldsFunc(c["mech_list"], func(r rune) bool { return r == ' ' || r == ',' || r == '\t' }), method == "auxprop")
	return srv, err
}

// realms divides user names.
type realms struct{ domain, host string }

// name implements accounts.
func (r *realms) name(user string) string {
	if r.domain == "" || strings.Contains(user, "@") {
		return user
	}
	return user + "@" + r.domain
}

// split returns the user and the realm, if there is one.
func (r *realms) split(user string) (name, realm string) {
	if i := strings.LastIndexByte(user, '@'); i >= 0 {
		return user[:i], user[i+1:]
	}
	return user, r.domain
}

// sasldb is the password database of Cyrus SASL, read only.
type sasldb struct {
	realms
	table Table
}

// lookup implements accounts. The database has the passwords as they are.
func (a *sasldb) lookup(ctx context.Context, user string) (string, bool, error) {
	name, realm := a.split(user)
	if realm == "" {
		realm = a.host
	}
	value, ok, err := a.table.Lookup(ctx, name+"\x00"+realm+"\x00userPassword")
	if err != nil {
		return "", false, err
	}
	return "{PLAIN}" + value, ok, nil
}
