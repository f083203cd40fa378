package agent

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// account is a line of the user database.
type account struct {
	name, home, shell string
	uid, gid          int
}

// passwd is the user database of this machine. It is read again when the file
// changes.
type passwd struct {
	path string

	mu     sync.Mutex
	loaded time.Time
	mod    time.Time
	users  map[string]*account
	ids    map[int]*account
}

// passwdCheck is how often the file is looked at.
const passwdCheck = time.Second

// lookup finds a user; nil when there is none. An error is temporary.
func (p *passwd) lookup(name string) (*account, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.refresh(); err != nil {
		return nil, err
	}
	return p.users[name], nil
}

// byID finds the first user with an id.
func (p *passwd) byID(uid int) (*account, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.refresh(); err != nil {
		return nil, err
	}
	return p.ids[uid], nil
}

// refresh looks at the file now and then. The lock is held.
func (p *passwd) refresh() error {
	now := time.Now()
	if now.Sub(p.loaded) <= passwdCheck {
		return nil
	}
	if err := p.load(); err != nil {
		return err
	}
	p.loaded = now
	return nil
}

func (p *passwd) load() error {
	info, err := os.Stat(p.path)
	if err != nil {
		return err
	}
	if p.users != nil && info.ModTime().Equal(p.mod) {
		return nil
	}
	text, err := os.ReadFile(p.path)
	if err != nil {
		return err
	}
	users, ids := map[string]*account{}, map[int]*account{}
	for _, line := range strings.Split(string(text), "\n") {
		u, err := parsePasswd(line)
		if err != nil || u == nil {
			continue
		}
		users[u.name] = u
		if ids[u.uid] == nil {
			ids[u.uid] = u
		}
	}
	p.users, p.ids, p.mod = users, ids, info.ModTime()
	return nil
}

// parsePasswd reads one line; nil for an empty one.
func parsePasswd(line string) (*account, error) {
	if line == "" || line[0] == '#' {
		return nil, nil
	}
	f := strings.Split(line, ":")
	if len(f) != 7 {
		return nil, fmt.Errorf("%d fields", len(f))
	}
	uid, err := strconv.Atoi(f[2])
	if err != nil {
		return nil, err
	}
	gid, err := strconv.Atoi(f[3])
	if err != nil {
		return nil, err
	}
	return &account{name: f[0], uid: uid, gid: gid, home: f[5], shell: f[6]}, nil
}
