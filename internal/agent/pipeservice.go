package agent

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"

	"postroad/internal/postconf"
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
		"eol":         func(value string) error { s.eol = string(postconf.Unescape(value)); return nil },
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
	own := mailSystem{owner: owner, group: group, uid: os.Geteuid(), gid: os.Getegid()}
	if g, err := user.LookupGroup(group); err == nil {
		own.setgid, _ = strconv.Atoi(g.Gid) // 0 is refused anyway
	}
	if err := own.reserves(uid, gid); err != nil {
		return 0, 0, fmt.Errorf("user= command-line attribute specifies %w", err)
	}
	return uid, gid, nil
}

// mailSystem is who the mail system is, and the group of its drop.
type mailSystem struct {
	owner, group     string
	uid, gid, setgid int
}

// reserves tells why an account is not one for commands.
func (m *mailSystem) reserves(uid, gid int) error {
	switch {
	case uid == 0:
		return errors.New("root privileges")
	case uid == m.uid:
		return fmt.Errorf("mail system owner %s", m.owner)
	case gid == 0:
		return errors.New("privileged group id 0")
	case gid == m.gid:
		return fmt.Errorf("mail system owner %s group id %d", m.owner, gid)
	case gid == m.setgid:
		return fmt.Errorf("mail system %s group id %d", m.group, gid)
	}
	return nil
}
