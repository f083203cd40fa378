package master

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"postroad/internal/event"
	"postroad/internal/postconf"
	"postroad/internal/privdeliver"
)

// timeLimit ends the names of the parameters that limit the time of one service's
// commands.
const timeLimit = "_time_limit"

// ReadsLimit tells whether a parameter is the time limit of a spawn(8) or pipe(8)
// service.
func ReadsLimit(cfg *postconf.Config, name string) bool {
	name, ok := strings.CutSuffix(name, timeLimit)
	return ok && slices.ContainsFunc(cfg.Active(), func(s *postconf.Service) bool {
		return s.Name == name && (s.Program() == spawnProgram || s.Program() == "pipe")
	})
}

// spawnProgram is the name of spawn(8) in master.cf.
const spawnProgram = "spawn"

// spawnService is a service that runs a command for each client, with the
// client as its standard input and output: spawn(8).
type spawnService struct {
	name  string
	argv  []string
	uid   int
	gid   int
	env   []string
	limit time.Duration
	// max bounds the commands at a time; 0 is no bound.
	max int
	// dir is the working directory, log the voice of spawn(8).
	dir string
	log *event.Logger
	// chroot locks the command into dir, when this process may do that.
	chroot bool
}

// spawnSocket is where a service listens.
type spawnSocket struct{ network, addr string }

// readSpawn reads a spawn service. owner is who must not be given away; nil
// when there is none, because everything belongs to one ordinary user.
func readSpawn(cfg *postconf.Config, svc *postconf.Service, owner *Owner) (*spawnService, error) {
	s := &spawnService{name: svc.Name}
	view := cfg.View(svc)
	var set Settings
	if err := firstFatal(view.Decode(&set)); err != nil {
		return nil, err
	}
	s.limit, s.max, s.chroot = set.CommandTime, svc.MaxProc, svc.Chroot == 'y'
	if limit, err := view.Duration(svc.Name + timeLimit); err == nil {
		s.limit = limit
	}
	if s.max < 0 {
		s.max = set.ProcessLimit
	}
	s.env = exported(set.Environment)
	if err := s.command(svc.Args); err != nil {
		return nil, err
	}
	return s, s.mayRun(owner)
}

// command reads "user=name[:group] argv=command...".
func (s *spawnService) command(args []string) error {
	account := ""
	for i := 0; i < len(args); i++ {
		name, value, _ := strings.Cut(args[i], "=")
		switch {
		case args[i] == "-o":
			i++ // read with the configuration already
		case strings.HasPrefix(args[i], "-"):
		case strings.EqualFold(name, "user") && value != "":
			account = value
		case strings.EqualFold(name, "argv"):
			s.argv = append([]string{value}, args[i+1:]...)
			i = len(args)
		default:
			return fmt.Errorf("unknown attribute name: %s", args[i])
		}
	}
	switch {
	case account == "":
		return errors.New("missing user= attribute")
	case len(s.argv) == 0 || s.argv[0] == "":
		return errors.New("missing argv= attribute")
	}
	var err error
	s.uid, s.gid, err = privdeliver.Account(account)
	return err
}

// mayRun refuses the accounts that a command must not have.
func (s *spawnService) mayRun(owner *Owner) error {
	if owner == nil {
		if s.uid != os.Geteuid() {
			return errors.New("this server runs as an ordinary user and cannot run a command as another one")
		}
		return nil
	}
	switch {
	case s.uid == 0:
		return errors.New("request to deliver as root")
	case s.uid == owner.UID:
		return errors.New("request to deliver as mail system owner")
	case s.gid == 0:
		return errors.New("request to use privileged group id 0")
	case s.gid == owner.GID:
		return fmt.Errorf("request to use mail system owner group id %d", owner.GID)
	}
	return nil
}

// exported is the environment that export_environment lists.
func exported(items []string) []string {
	env := []string{"PATH=/usr/bin:/bin"}
	for _, item := range items {
		if strings.HasPrefix(item, "PATH=") {
			continue
		}
		if strings.Contains(item, "=") {
			env = append(env, item)
		} else if value, ok := os.LookupEnv(item); ok {
			env = append(env, item+"="+value)
		}
	}
	return env
}

// starter starts a command of a service; done is called when it has ended.
type starter func(s *spawnService, conn *os.File, done func(exit)) (pid int, err error)

// spawner runs the spawn services of the configuration in force.
type spawner struct {
	start starter

	mu      sync.Mutex
	running map[spawnSocket]*spawnListener
}

// spawnPlan is what the next configuration wants: services, and the sockets that
// are not open yet.
type spawnPlan struct {
	want  map[spawnSocket]*spawnService
	fresh map[spawnSocket]net.Listener
}

// prepare reads the services of a configuration and opens their sockets. The
// plan is then put in force by adopt, or dropped.
func (r *spawner) prepare(cfg *postconf.Config, s *Settings, owner *Owner, log *event.Logger) (*spawnPlan, error) {
	p := &spawnPlan{want: map[spawnSocket]*spawnService{}, fresh: map[spawnSocket]net.Listener{}}
	log = log.With(s.SyslogName+"/"+spawnProgram, os.Getpid())
	for _, svc := range cfg.Active() {
		if svc.Program() != spawnProgram || svc.Type != "unix" && svc.Type != "inet" {
			continue
		}
		one, err := readSpawn(cfg, svc, owner)
		if err != nil {
			log.Errorf("%v: service %s: %v -- the service is not started", svc.Origin, svc.ID(), err)
			continue
		}
		one.dir, one.log = s.QueueDirectory, log
		sockets, err := spawnSockets(cfg, svc, s.QueueDirectory)
		if err != nil {
			return nil, err
		}
		for _, socket := range sockets {
			p.want[socket] = one
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for socket := range p.want {
		if r.running[socket] != nil {
			continue
		}
		ln, err := listenSpawn(socket)
		if err != nil {
			p.drop()
			return nil, err
		}
		p.fresh[socket] = ln
	}
	return p, nil
}

// drop closes the sockets of a plan that is not put in force.
func (p *spawnPlan) drop() {
	for _, ln := range p.fresh {
		ln.Close()
	}
}

// adopt starts, changes and ends services as planned.
func (r *spawner) adopt(p *spawnPlan) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for socket, l := range r.running {
		if p.want[socket] == nil {
			delete(r.running, socket)
			l.close()
		}
	}
	for socket, s := range p.want {
		if l := r.running[socket]; l != nil {
			l.service.Store(s)
			poke(l.wake) // its limit may be higher now
			continue
		}
		l := &spawnListener{start: r.start, ln: p.fresh[socket], wake: make(chan struct{}, 1), children: map[int]*command{}}
		l.service.Store(s)
		if r.running == nil {
			r.running = map[spawnSocket]*spawnListener{}
		}
		r.running[socket] = l
		// goroutine: accepts for one service; ends when its listener is closed.
		go l.serve()
	}
}

// close ends all services and their commands.
func (r *spawner) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.running {
		l.close()
	}
	r.running = nil
}

// spawnSockets lists where a service listens.
func spawnSockets(cfg *postconf.Config, svc *postconf.Service, queueDir string) ([]spawnSocket, error) {
	if svc.Type == "unix" {
		class := "private"
		if !svc.IsPrivate() {
			class = "public"
		}
		return []spawnSocket{{"unix", filepath.Join(queueDir, class, svc.Name)}}, nil
	}
	all, err := serviceEndpoints(cfg, svc)
	if err != nil {
		return nil, err
	}
	var out []spawnSocket
	for _, e := range all {
		out = append(out, spawnSocket{e.network, e.addr.String()})
	}
	return out, nil
}

// listenSpawn opens the socket of a service. Who may reach a socket below the
// queue directory, its directory says.
func listenSpawn(socket spawnSocket) (net.Listener, error) {
	if socket.network == "unix" {
		if err := removeSocket(socket.addr); err != nil {
			return nil, err
		}
	}
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	ln, err := lc.Listen(context.Background(), socket.network, socket.addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", socket.addr, err)
	}
	if socket.network == "unix" {
		if err := os.Chmod(socket.addr, 0o666); err != nil {
			ln.Close()
			return nil, err
		}
	}
	return ln, nil
}

// removeSocket removes what a server before us has left.
func removeSocket(path string) error {
	st, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case st.Mode()&os.ModeSocket == 0:
		return fmt.Errorf("%s is in the way: it is no socket", path)
	}
	return os.Remove(path)
}
