package postconf

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"

	"postroad/internal/sys"
)

// DefaultDir is the configuration directory when nothing says otherwise.
const DefaultDir = "/etc/postfix"

// LoadOptions are the things of the host on which computed defaults depend. The
// zero value asks the operating system.
type LoadOptions struct {
	// Hostname is the name of the host, as gethostname gives it.
	Hostname string
	// Interfaces returns the addresses of the active interfaces with their masks.
	Interfaces func() ([]netip.Prefix, error)
	// LookupHost returns the addresses of a host that inet_interfaces names.
	LookupHost func(name string) ([]netip.Addr, error)
	// Overrides are settings of the command line; they win over main.cf, but not
	// over the "-o" settings in master.cf.
	Overrides []Override
	// Process is the value of process_name outside of a service.
	Process string
	// Quiet leaves out the warnings about names that are not used, not defined or
	// out of date.
	Quiet bool
	// WithoutMain and WithoutMaster leave main.cf or master.cf unread.
	WithoutMain, WithoutMaster bool
	// Known are further names that are not to be reported as unused, for example
	// parameters of our own.
	Known map[string]bool
}

// Config is a configuration that was read. It does not change.
type Config struct {
	// Dir is the configuration directory.
	Dir string
	// Main is main.cf.
	Main *Main
	// MasterFile is the path of master.cf.
	MasterFile string
	// Services are the entries of master.cf in the order of the file, with the
	// Disabled and the Superseded ones.
	Services []*Service

	overrides  []Override
	process    string
	hostname   string
	interfaces func() ([]netip.Prefix, error)
	lookupHost func(name string) ([]netip.Addr, error)
	// badLevel is set when the compatibility level cannot be read. That is reported
	// once; then level 0 is used, so that it is not reported again for each default
	// that depends on the level.
	badLevel bool
	// withoutMain is set when the defaults are wanted.
	withoutMain bool
	// mynetworks computes the default once, when it is first wanted.
	mynetworks func() (string, error)
}

// Load reads main.cf and master.cf in dir. The Config is never nil; when a problem
// is fatal it is not fit to run with, but still good enough to show.
func Load(dir string, opt LoadOptions) (*Config, []Problem) {
	c := &Config{Dir: dir, MasterFile: filepath.Join(dir, "master.cf"), withoutMain: opt.WithoutMain}
	file := filepath.Join(dir, "main.cf")
	var data []byte
	var problems, more []Problem
	if !opt.WithoutMain {
		data, problems = readFile(file)
	}
	c.Main, more = ParseMain(file, data)
	problems = append(problems, more...)
	if !opt.WithoutMaster {
		data, more := readFile(c.MasterFile)
		problems = append(problems, more...)
		c.Services, more = ParseMaster(c.MasterFile, data)
		problems = append(problems, more...)
	}
	return c, append(problems, c.complete(opt)...)
}

// complete does what comes after the two files were read.
func (c *Config) complete(opt LoadOptions) []Problem {
	c.finish(opt)
	problems := append(c.checkLevel(), c.applyDisable()...)
	if !opt.Quiet {
		u := c.Usage(opt.Known)
		problems = append(append(problems, u.Errors()...), u.Warnings()...)
	}
	return problems
}

// Parse is Load for texts that are in memory.
func Parse(dir string, mainCF, masterCF []byte, opt LoadOptions) (*Config, []Problem) {
	c := &Config{Dir: dir, MasterFile: filepath.Join(dir, "master.cf")}
	var problems, more []Problem
	c.Main, problems = ParseMain(filepath.Join(dir, "main.cf"), mainCF)
	c.Services, more = ParseMaster(c.MasterFile, masterCF)
	problems = append(problems, more...)
	return c, append(problems, c.complete(opt)...)
}

// Defaults returns the view of a configuration in which nothing is set.
func Defaults() *View {
	c := &Config{Dir: DefaultDir, Main: &Main{settings: map[string]*Setting{}}}
	c.finish(LoadOptions{})
	return c.View(nil)
}

// finish fills in what depends on the host and the caller.
func (c *Config) finish(opt LoadOptions) {
	c.overrides, c.process, c.hostname = opt.Overrides, opt.Process, opt.Hostname
	c.interfaces, c.lookupHost = opt.Interfaces, opt.LookupHost
	if c.process == "" {
		c.process = "postroad"
	}
	if c.hostname == "" {
		// An error leaves the name empty, for which there is a default too.
		c.hostname, _ = os.Hostname()
	}
	if c.interfaces == nil {
		c.interfaces = systemInterfaces
	}
	if c.lookupHost == nil {
		c.lookupHost = systemLookup
	}
	c.mynetworks = sync.OnceValues(c.View(nil).computeNetworks)
}

// applyDisable marks the services that master_service_disable names.
func (c *Config) applyDisable() []Problem {
	v := c.View(nil)
	value, err := v.Value("master_service_disable")
	if err != nil {
		return []Problem{v.problemOf("master_service_disable", err)}
	}
	list := SplitList(value)
	if len(list) == 0 {
		return nil
	}
	for _, s := range c.Services {
		s.Disabled = matchService(list, s)
	}
	return nil
}

// checkLevel reports a compatibility level that cannot be read. It is part of
// making the Config.
func (c *Config) checkLevel() []Problem {
	v := c.View(nil)
	value, err := v.Value("compatibility_level")
	if err == nil {
		_, err = ParseLevel(value)
	}
	if err != nil {
		c.badLevel = true
		return []Problem{v.problemOf("compatibility_level", err)}
	}
	return nil
}

// Service returns the entry of that name and type that counts, or nil. An empty
// type stands for unix, or else any type.
func (c *Config) Service(name, typ string) *Service {
	var found *Service
	for _, s := range c.Services {
		if s.Superseded || s.Disabled || s.Name != name {
			continue
		}
		if s.Type == typ || typ == "" && s.Type == "unix" {
			return s
		}
		if typ == "" && found == nil {
			found = s
		}
	}
	return found
}

// Active returns the entries that a server runs, in the order of the file.
func (c *Config) Active() []*Service {
	var out []*Service
	for _, s := range c.Services {
		if !s.Superseded && !s.Disabled {
			out = append(out, s)
		}
	}
	return out
}

// Level returns the compatibility level; a bad one counts as 0.
func (c *Config) Level() Level {
	value, err := c.View(nil).Value("compatibility_level")
	if err != nil {
		return Level{}
	}
	level, err := ParseLevel(value)
	if err != nil {
		return Level{}
	}
	return level
}

// readFile reads a configuration file.
func readFile(file string) ([]byte, []Problem) {
	fatal := func(format string, args ...any) []Problem {
		return []Problem{{Fatal: true, Text: fmt.Sprintf(format, args...)}}
	}
	info, err := os.Stat(file)
	if err != nil {
		return nil, fatal("open %s: %v", file, sys.Reason(err))
	}
	if info.Size() > maxFile {
		return nil, fatal("open %s: larger than %d bytes", file, maxFile)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fatal("open %s: %v", file, sys.Reason(err))
	}
	return data, nil
}

// systemInterfaces returns the addresses of the interfaces that are up.
func systemInterfaces() ([]netip.Prefix, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var out []netip.Prefix
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			return nil, err
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				out = append(out, p)
			}
		}
	}
	return out, nil
}

// systemLookup asks the system's resolver for the addresses of a host.
func systemLookup(name string) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
	defer cancel()
	return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
}
