package agent

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"

	"postroad/internal/privdeliver"
)

// pipeFlags are the flags= of a pipe(8) service.
type pipeFlags struct {
	// blank, from, deliveredTo, originalTo and returnPath add to the message; dot
	// and quote protect lines in it.
	blank, from, deliveredTo, originalTo, returnPath, dot, quote bool
	// final says that the command is the last stop.
	final bool
	// foldHost and foldUser make addresses lower case, quoteAddress quotes them, on
	// the command line.
	foldHost, foldUser, quoteAddress bool
}

// bits are the letters of flags=.
func (f *pipeFlags) bits() map[rune]*bool {
	return map[rune]*bool{
		'B': &f.blank, 'F': &f.from, 'D': &f.deliveredTo, 'O': &f.originalTo, 'R': &f.returnPath, 'X': &f.final,
		'.': &f.dot, '>': &f.quote, 'h': &f.foldHost, 'u': &f.foldUser, 'q': &f.quoteAddress,
	}
}

// pipeService are the attributes of a pipe(8) service in master.cf.
type pipeService struct {
	flags      pipeFlags
	account    string
	argv       []string
	eol        string
	nullSender string
	directory  string
	chroot     string
	size       int64
}

// pipeAttributes are the attributes with a value, and what takes it.
func (s *pipeService) attributes() map[string]func(value string) error {
	text := func(to *string) func(string) error {
		return func(value string) error { *to = value; return nil }
	}
	return map[string]func(string) error{
		"flags": s.setFlags, "user": text(&s.account), "directory": text(&s.directory), "chroot": text(&s.chroot),
		"null_sender": text(&s.nullSender),
		"eol":         func(value string) error { s.eol = unescapeEOL(value); return nil },
		"size": func(value string) (err error) {
			if s.size, err = strconv.ParseInt(value, 10, 64); err != nil || s.size < 0 {
				return fmt.Errorf("bad size: size=%s", value)
			}
			return nil
		},
	}
}

func (s *pipeService) setFlags(value string) error {
	bits := s.flags.bits()
	for _, c := range value {
		bit := bits[c]
		if bit == nil {
			return fmt.Errorf("unknown flag: %c", c)
		}
		*bit = true
	}
	return nil
}

// readPipe reads the arguments of a service: attributes, and the command last.
func readPipe(args []string) (*pipeService, error) {
	s := &pipeService{nullSender: "MAILER-DAEMON"}
	attributes := s.attributes()
	for i := 0; i < len(args); i++ {
		name, value, assigned := strings.Cut(args[i], "=")
		set := attributes[strings.ToLower(name)]
		switch {
		case args[i] == "-o":
			i++ // read with the configuration already
		case strings.HasPrefix(args[i], "-"):
		case assigned && strings.EqualFold(name, "argv"):
			s.argv = append([]string{value}, args[i+1:]...)
			i = len(args)
		case assigned && set != nil:
			if err := set(value); err != nil {
				return s, err
			}
		default:
			return s, fmt.Errorf("unknown attribute name: %s", args[i])
		}
	}
	switch {
	case s.account == "":
		return s, errors.New("missing user= command-line attribute")
	case len(s.argv) == 0 || s.argv[0] == "":
		return s, errors.New("missing argv= command-line attribute")
	}
	return s, nil
}

// mayRun resolves the account, and refuses those that a command must not have: what
// it does is the doing of strangers. A server of an ordinary user has no other.
func (s *pipeService) mayRun(owner, group string, alone bool) (uid, gid int, err error) {
	if uid, gid, err = privdeliver.Account(s.account); err != nil {
		return 0, 0, err
	}
	if alone {
		if uid != os.Geteuid() {
			return 0, 0, privdeliver.ErrRights
		}
		return uid, gid, nil
	}
	own := os.Getegid()
	switch {
	case uid == 0:
		return 0, 0, errors.New("user= command-line attribute specifies root privileges")
	case uid == os.Geteuid():
		return 0, 0, fmt.Errorf("user= command-line attribute specifies mail system owner %s", owner)
	case gid == 0, gid == own:
		return 0, 0, fmt.Errorf("user= command-line attribute specifies mail system owner %s group id %d", owner, gid)
	}
	if g, err := user.LookupGroup(group); err == nil && g.Gid == strconv.Itoa(gid) {
		return 0, 0, fmt.Errorf("user= command-line attribute specifies mail system %s group id %d", group, gid)
	}
	return uid, gid, nil
}

// escapes are the backslash sequences of eol=.
var escapes = map[byte]byte{'a': 7, 'b': 8, 'f': 12, 'n': 10, 'r': 13, 't': 9, 'v': 11, '\\': '\\'}

// unescapeEOL reads backslash sequences: a letter, or up to three octal digits.
func unescapeEOL(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			out.WriteByte(s[i])
			continue
		}
		i++
		digits := 0
		for digits < 3 && i+digits < len(s) && s[i+digits] >= '0' && s[i+digits] <= '7' {
			digits++
		}
		if digits == 0 {
			c, known := escapes[s[i]]
			if !known {
				c = s[i]
			}
			out.WriteByte(c)
			continue
		}
		n, _ := strconv.ParseUint(s[i:i+digits], 8, 16)
		out.WriteByte(byte(n))
		i += digits - 1
	}
	return out.String()
}
