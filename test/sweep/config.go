package sweep

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"

	"postroad/internal/postconf"
	"postroad/test/scenario"
)

// Config is one configuration as it was found.
type Config struct {
	// Name is its directory.
	Name string
	// Main and Master are its two files; Files are the others by their path below
	// the directory.
	Main, Master string
	Files        map[string]string
}

// unserved are configurations of which too little is there, with the reason.
var unserved = map[string]string{"zentyal": "its restriction lists are placeholders"}

// Load reads every configuration below dir, a directory of directories. One
// without main.cf is none.
func Load(dir string) ([]*Config, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all []*Config
	for _, e := range entries {
		sub := filepath.Join(dir, e.Name())
		main, err := os.ReadFile(filepath.Join(sub, "main.cf"))
		if err != nil || unserved[e.Name()] != "" {
			continue // a template, or no directory at all
		}
		c := &Config{Name: e.Name(), Main: string(main), Files: map[string]string{}}
		err = filepath.WalkDir(sub, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			switch rel := strings.TrimPrefix(path, sub+"/"); {
			case rel == "main.cf" || strings.HasPrefix(rel, "oracle/"):
			case rel == "master.cf":
				c.Master = string(text)
			default:
				c.Files[rel] = string(text)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Name < all[j].Name })
	return all, nil
}

// logical splits a configuration file into logical lines: a line that begins with
// a blank belongs to the one before it. Remarks are dropped.
func logical(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		switch trimmed := strings.TrimSpace(line); {
		case trimmed == "" || trimmed[0] == '#':
		case (line[0] == ' ' || line[0] == '\t') && len(out) > 0:
			out[len(out)-1] += "\n" + line
		default:
			out = append(out, line)
		}
	}
	return out
}

// paramName finds the name that a logical line of main.cf sets.
var paramName = regexp.MustCompile(`^([\w]+)\s*=`)

// foreign are tables that need a server or a library; they become text.
var foreign = regexp.MustCompile(`\b(?:mysql|pgsql|sqlite|ldap|socketmap|tcp|memcache|lmdb|cdb|dbm|btree|sdbm|mongodb):([^\s,}]*)`)

// placeholder is what an installer would have filled in.
var placeholder = regexp.MustCompile(`\{\{ ?[A-Za-z_][\w.]*(?:\['?\w+'?\])? ?\}\}`)

// elsewhere are directories that stand for /etc/postfix in other systems.
var elsewhere = strings.NewReplacer("/usr/local/etc/postfix", "/etc/postfix", "/opt/postfix/conf", "/etc/postfix",
	"/etc/postfix/maps/", "/etc/postfix/maps-", "${config_directory}", "/etc/postfix", "$config_directory", "/etc/postfix",
	"unix:/var/run/", "unix:/srv/run/", "unix:/run/", "unix:/srv/run/", "unix:/opendkim/", "unix:/srv/opendkim/", "unix:/var/lib/", "unix:/srv/lib/", "hash:/var/lib/", "hash:/srv/lib/")

// asText replaces tables that need a server by text files.
func asText(text string) string {
	text = placeholder.ReplaceAllString(elsewhere.Replace(text), "grains.example.com")
	return foreign.ReplaceAllStringFunc(text, func(s string) string {
		return "texthash:/etc/postfix/sweep/" + strings.Map(func(r rune) rune {
			if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '$' || r == '{' || r == '}' {
				return r
			}
			return '_'
		}, strings.Replace(s, "/etc/postfix/", "", 1))
	})
}

// unfilled finds what an installer would have filled in and a default can replace.
var unfilled = regexp.MustCompile(`^(\w+)\s*=\s*(?:25|regexp:|(?:static:)?example\.com|\S*_[A-Z]{4,}_\S*|127\.0\.0\.0/8 _[A-Z]+_)?\s*$`)

// blanks are parameters that may be unfilled; for the others nothing, or a domain,
// is a value like any other.
var blanks = regexp.MustCompile(`^(?:myorigin|mynetworks|relayhost|milter_default_action|message_size_limit|content_filter|maillog_file|always_bcc|\w+_bcc_maps|virtual_[ug]id_maps|smtp_header_checks|inet_protocols|unverified_recipient_reject_code|smtpd_milters)$`)

// dropped are parameters of the machine that a configuration comes from: places,
// accounts, certificates, caches. The box has its own.
var dropped = regexp.MustCompile(`^(?:queue|data|daemon|command|config|shlib|meta|mail_spool|sample|readme|html|manpage)_directory$|` +
	`^(?:mail_owner|setgid_group|newaliases_path|mailq_path|sendmail_path|maillog_\w+|debugger_command|debug_peer_\w+|syslog_\w+|inet_interfaces)$|` +
	`^smtpd_tls_(?:\w*cert_file|\w*key_file|chain_files|CAfile|CApath|dh\w+|session_cache_database)$|^tls_server_sni_maps$|` +
	`^smtp_tls_(?:CAfile|CApath|\w*cert_file|\w*key_file|chain_files|session_cache_database)$|^address_verify_map$|^postscreen_cache_map$|_session_cache_database$|^multi_instance_\w+$|^tls_random_\w+$`)

// serveMain is main.cf for the box.
func serveMain(text string) string {
	var b strings.Builder
	cert := false
	for _, line := range logical(asText(text)) {
		g := paramName.FindStringSubmatch(line)
		if g == nil {
			continue // Postfix would not start
		}
		cert = cert || strings.HasPrefix(g[1], "smtpd_tls_") && strings.Contains(g[1], "cert_file") || g[1] == "smtpd_tls_chain_files"
		if blanks.MatchString(g[1]) && unfilled.MatchString(line) || dropped.MatchString(g[1]) || g[1] == "smtpd_sasl_type" || g[1] == "smtpd_sasl_path" {
			continue
		}
		if g[1] == "myhostname" && (strings.Contains(line, "_") || strings.TrimSpace(line) == "myhostname =") {
			line = "myhostname = mail.example.com"
		}
		b.WriteString(line + "\n")
	}
	b.WriteString("maillog_file = /var/log/mail.log\ninet_interfaces = all\nsmtpd_sasl_type = dovecot\nsmtpd_sasl_path = private/auth\n")
	if cert {
		b.WriteString("smtpd_tls_chain_files = /etc/postfix/server.pem\n")
	}
	return b.String()
}

// machineOption finds "-o" settings of the machine in master.cf, and a number that
// stands for one to be filled in.
var machineOption = regexp.MustCompile(`\n?[ \t]+-o[ \t]*\{?[ \t]*(?:smtpd_sasl_(?:type|path)|smtpd_tls_(?:\w*cert_file|\w*key_file|dh\w+)|tls_server_sni_maps|syslog_facility)[ \t]*=[^\n]*|\n?[ \t]+-o[ \t]*message_size_limit=25\b`)

// serveMaster is master.cf for the box: nothing in a chroot, smtpd in the place
// of postscreen, no programs of others.
func serveMaster(text string) string {
	text = asText(text)
	var gate string // what postscreen's smtpd is
	for _, line := range logical(text) {
		f := strings.Fields(line)
		if len(f) > 7 && f[1] == "pass" && f[7] == "smtpd" {
			gate = strings.Join(f[8:], " ")
		}
	}
	var b strings.Builder
	for _, line := range withoutEarlier(logical(text)) {
		line = machineOption.ReplaceAllString(line, "")
		f := strings.Fields(line)
		if len(f) < 8 || f[7] == "spawn" || strings.HasSuffix(f[0], ":example.com") || f[1] == "pass" {
			continue
		}
		args := optionLines(line)
		switch f[7] {
		case "tlsproxy", "dnsblog", "postscreen":
			if f[7] != "postscreen" {
				continue
			}
			f[7], f[6] = "smtpd", "-"
			if gate != "" {
				args = " " + gate + args
			}
		}
		if strings.Contains(args, "upstream_proxy_protocol") {
			continue // behind a proxy that is not there
		}
		f[4] = "n"
		if f[1] == "fifo" { // how it was before Postfix 3
			f[1] = "unix"
		}
		b.WriteString(strings.Join(f[:8], " ") + args + "\n")
	}
	return scenario.Master(b.String())
}

// withoutEarlier drops the services that a later one of the same name replaces.
func withoutEarlier(lines []string) []string {
	last := map[string]int{}
	key := func(line string) string {
		if f := strings.Fields(line); len(f) > 1 {
			return f[0] + " " + f[1]
		}
		return line
	}
	for i, line := range lines {
		last[key(line)] = i
	}
	var out []string
	for i, line := range lines {
		if last[key(line)] == i {
			out = append(out, line)
		}
	}
	return out
}

// optionLines is what stands behind the eight columns of a service.
func optionLines(line string) string {
	n, in := 0, false
	for i, r := range line {
		blank := r == ' ' || r == '\t' || r == '\n'
		if !blank && !in {
			if n++; n == 9 {
				return "\n  " + line[i:]
			}
		}
		in = !blank
	}
	return ""
}

// view reads the served configuration, to look into it.
func view(main, master string) *postconf.Config {
	cfg, _ := postconf.Parse("/etc/postfix", []byte(main), []byte(master), postconf.LoadOptions{})
	return cfg // its problems are the subjects' to see
}
