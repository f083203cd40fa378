package check

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"postroad/internal/postconf"
)

// secrets looks at the files that hold keys and passwords.
func (r *run) secrets(code string) {
	seen := map[string]bool{}
	for _, s := range r.settings() {
		for _, path := range secretFiles(s) {
			if !seen[path] {
				seen[path] = true
				r.secret(code, s, path)
			}
		}
	}
}

// secretFiles are the files with secrets that a setting names.
func secretFiles(s setting) []string {
	var out []string
	switch {
	case strings.HasSuffix(s.name, "_key_file"), strings.HasSuffix(s.name, "_chain_files"):
		for _, path := range postconf.SplitList(s.value) {
			if strings.HasPrefix(path, "/") {
				out = append(out, path)
			}
		}
	case strings.HasSuffix(s.name, "sasl_password_maps"):
		for _, spec := range specs(s.value) {
			typ, path, _ := strings.Cut(spec, ":")
			out = append(out, path)
			if ext := map[string]string{"hash": ".db", "btree": ".db", "lmdb": ".lmdb", "cdb": ".cdb"}[typ]; ext != "" {
				out = append(out, path+ext)
			}
		}
	default:
		for _, spec := range specs(s.value) {
			typ, path, _ := strings.Cut(strings.TrimPrefix(spec, "proxy:"), ":")
			switch typ {
			case "mysql", "pgsql", "ldap", "mongodb":
				out = append(out, path)
			}
		}
	}
	return out
}

// secret looks at one file. A certificate chain without a key is no secret, but a
// file that may hold a key is treated as if it did.
func (r *run) secret(code string, s setting, path string) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if strings.HasSuffix(s.name, "_key_file") || strings.HasSuffix(s.name, "_chain_files") {
			r.add(Warning, code, s, path+": no such file", "TLS does not work without it")
		}
		return // a missing table has been reported
	case err != nil:
		r.add(Note, code, s, path+": "+reason(err), "run the check as root to look at it")
		return
	}
	mode := info.Mode().Perm()
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case mode&0o004 != 0:
		r.add(Warning, code, s, fmt.Sprintf("%s holds a secret and everybody can read it (mode %04o)", path, mode), "chmod 640 or 600")
	case mode&0o002 != 0 || mode&0o020 != 0:
		r.add(Warning, code, s, fmt.Sprintf("%s holds a secret and others can change it (mode %04o)", path, mode), "chmod 640 or 600")
	case ok && st.Uid != 0 && strings.HasSuffix(s.name, "_key_file"):
		r.add(Note, code, s, fmt.Sprintf("%s belongs to user %d", path, st.Uid), "keys are read as root before privileges are given up: root may own it")
	}
}

// reason is the system's word for an error, without the path.
func reason(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}
