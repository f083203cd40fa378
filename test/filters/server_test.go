//go:build oracle

package filters

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"postroad/internal/testkit"
)

var (
	sbin   = flag.String("sbin", "", "directory with the commands of the Postfix to compare with, when it is not the system's")
	only   = flag.String("case", "", "regular expression for the names of the scripted cases to play")
	binDir = flag.String("bin", "../../bin", "where make build has put postroad")
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// server is a private mail server. Everything that it delivers goes to sink.
type server struct {
	name, dir string
	sink      *testkit.Sink
	cmd       *exec.Cmd
}

// service is one line of its master.cf: a port with settings of its own.
type service struct {
	port     int
	settings []string
}

const baseMain = `compatibility_level = 3.6
myhostname = mx.test
mydestination =
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_authorized_xclient_hosts = 127.0.0.0/8
smtpd_peername_lookup = no
smtpd_error_sleep_time = 0
smtpd_junk_command_limit = 1000
smtp_tls_security_level = none
smtp_dns_support_level = disabled
smtpd_tls_security_level = may
virtual_alias_maps = inline:{{list@v.test=one@d.test, two@d.test}}
virtual_alias_domains = v.test
milter_macro_v = Postfix 0
local_transport = error:none
alias_maps =
local_recipient_maps =
inet_interfaces = 127.0.0.1
inet_protocols = all
maillog_file_prefixes = /
`

const baseMaster = `cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
tlsmgr unix - - n 1000? 1 tlsmgr
pickup unix n - n 60 1 pickup
showq unix n - n - - showq
postlog unix-dgram n - n - 1 postlogd
`

// startServer starts Postfix or Postroad. It connects to the first service to find
// out whether it runs.
func startServer(t *testing.T, name, main string, services []service) *server {
	t.Helper()
	dir, err := os.MkdirTemp("", "filters-"+name)
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o755))
	sink, err := testkit.StartSink("", "")
	must(t, err)
	t.Cleanup(func() { _ = sink.Close() })
	s := &server{name: name, dir: dir, sink: sink}
	s.layout(t)
	chain := filepath.Join(dir, "etc/chain.pem")
	if out, err := exec.Command("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
		"-subj", "/CN=mx.test", "-keyout", chain, "-out", chain+".crt").CombinedOutput(); err != nil {
		t.Fatalf("openssl: %v: %s", err, out)
	}
	crt, err := os.ReadFile(chain + ".crt")
	must(t, err)
	key, err := os.ReadFile(chain)
	must(t, err)
	must(t, os.WriteFile(chain, append(key, crt...), 0o600))
	main = baseMain + "smtpd_tls_chain_files = " + chain + "\n" + fmt.Sprintf("queue_directory = %s/spool\ndata_directory = %s/data\nmaillog_file = %s/log\ndefault_transport = smtp:[%s]:%s\n",
		dir, dir, dir, strings.Split(sink.Addr, ":")[0], strings.Split(sink.Addr, ":")[1]) + main
	var b strings.Builder
	b.WriteString(baseMaster)
	for _, svc := range services {
		fmt.Fprintf(&b, "127.0.0.1:%d inet n - n - - smtpd\n", svc.port)
		for _, set := range svc.settings {
			fmt.Fprintf(&b, "  -o { %s }\n", set)
		}
	}
	s.run(t, main, b.String(), services[0].port)
	return s
}

// layout makes a queue directory.
func (s *server) layout(t *testing.T) {
	t.Helper()
	script := `cd "$1" && mkdir etc data spool && cd spool &&
mkdir active bounce corrupt defer deferred flush hold incoming maildrop pid private public saved trace &&
chown postfix ../data active bounce corrupt defer deferred flush hold incoming private saved trace maildrop public &&
chgrp postdrop maildrop public && chmod 1730 maildrop && chmod 710 public && chmod 700 private`
	if out, err := exec.Command("sh", "-c", script, "sh", s.dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// run starts the server and waits for a port.
func (s *server) run(t *testing.T, main, master string, port int) {
	t.Helper()
	etc := filepath.Join(s.dir, "etc")
	argv := []string{filepath.Join(*binDir, "postroad"), "postfix", "-c", etc, "start-fg"}
	if s.name == "postfix" {
		daemons, err := exec.Command(command("postconf"), "-dh", "daemon_directory").Output()
		must(t, err)
		at := strings.TrimSpace(string(daemons))
		// Without a busy queue manager every message would wait.
		main += "in_flow_delay = 0\ndaemon_directory = " + at + "\n"
		argv = []string{filepath.Join(at, "master"), "-c", etc, "-d"}
	}
	must(t, os.WriteFile(filepath.Join(etc, "main.cf"), []byte(main), 0o644))
	must(t, os.WriteFile(filepath.Join(etc, "master.cf"), []byte(master), 0o644))
	s.cmd = exec.Command(argv[0], argv[1:]...)
	s.cmd.Stdout, s.cmd.Stderr = os.Stdout, os.Stderr
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	must(t, s.cmd.Start())
	t.Cleanup(func() {
		_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGTERM)
		_ = s.cmd.Wait() // it ends by our signal
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if !testkit.Poll(ctx, 50*time.Millisecond, func() bool {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}) {
		t.Fatalf("%s does not start: %s", s.name, s.log(0))
	}
}

// command is the path of a command of the Postfix to compare with.
func command(name string) string {
	if *sbin != "" {
		return filepath.Join(*sbin, name)
	}
	return "/usr/sbin/" + name
}

// log is the mail log from a position on.
func (s *server) log(from int) string {
	text, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil || len(text) < from {
		return ""
	}
	return string(text[from:])
}

// wait polls until done or for a while.
func wait(t *testing.T, limit time.Duration, done func() bool) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	return testkit.Poll(ctx, 10*time.Millisecond, done)
}

// freePorts finds n ports that nobody listens on, below those that the kernel gives
// to connections.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	var ports []int
	for port := 20000 + os.Getpid()%5000; len(ports) < n && port < 32000; port++ {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		must(t, l.Close())
		ports = append(ports, port)
	}
	if len(ports) < n {
		t.Fatal("not enough free ports")
	}
	return ports
}
