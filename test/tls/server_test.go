//go:build oracle

package tls

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
	binDir = flag.String("bin", "../../bin", "where make build has put postroad")
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// service is one line of master.cf: an SMTP server with settings of its own.
type service struct {
	name     string
	settings []string
}

// server is a private mail server.
type server struct {
	name, dir string
	// ports are those of the services, by name.
	ports map[string]int
	pid   int
}

const baseMain = `compatibility_level = 3.11
myhostname = mx.test
mydestination =
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_peername_lookup = no
smtpd_client_port_logging = yes
smtpd_error_sleep_time = 0
smtpd_client_connection_count_limit = 0
smtpd_tls_loglevel = 1
smtpd_tls_security_level = may
local_recipient_maps =
alias_maps =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
maillog_file_prefixes = /
in_flow_delay = 0
`

const baseMaster = `cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
error unix - - n - - error
anvil unix - - n - 1 anvil
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
`

// start runs Postfix or Postroad with the services on ports from first on. %D in a
// setting is the directory of the certificates.
func start(t *testing.T, name string, certs string, first int, services []service) *server {
	t.Helper()
	dir, err := os.MkdirTemp("", "tls-"+name)
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o755))
	s := &server{name: name, dir: dir, ports: map[string]int{}}
	script := `cd "$1" && mkdir etc data spool && cd spool &&
mkdir active bounce corrupt defer deferred flush hold incoming maildrop pid private public saved trace &&
chown postfix ../data active bounce corrupt defer deferred flush hold incoming private saved trace maildrop public &&
chgrp postdrop maildrop public && chmod 1730 maildrop && chmod 710 public && chmod 700 private`
	if out, err := exec.Command("sh", "-c", script, "sh", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	etc := filepath.Join(dir, "etc")
	main := baseMain + fmt.Sprintf("queue_directory = %[1]s/spool\ndata_directory = %[1]s/data\nmaillog_file = %[1]s/log\nsmtpd_tls_chain_files = %[2]s/rsa.pem, %[2]s/ec.pem\n", dir, certs)
	argv := []string{filepath.Join(*binDir, "postroad"), "postfix", "-c", etc, "start-fg"}
	if name == "postfix" {
		postconf := "/usr/sbin/postconf"
		if *sbin != "" {
			postconf = filepath.Join(*sbin, "postconf")
		}
		daemons, err := exec.Command(postconf, "-dh", "daemon_directory").Output()
		must(t, err)
		at := strings.TrimSpace(string(daemons))
		main += "daemon_directory = " + at + "\n"
		if *sbin == "" {
			main = strings.Replace(main, "compatibility_level = 3.11", "compatibility_level = 3.6", 1) // 3.7 knows no more
		}
		argv = []string{filepath.Join(at, "master"), "-c", etc, "-d"}
	}
	var b strings.Builder
	b.WriteString(baseMaster)
	for i, svc := range services {
		s.ports[svc.name] = first + i
		fmt.Fprintf(&b, "127.0.0.1:%d inet n - n - - smtpd\n", first+i)
		for _, set := range svc.settings {
			fmt.Fprintf(&b, "  -o { %s }\n", strings.ReplaceAll(set, "%D", certs))
		}
	}
	must(t, os.WriteFile(filepath.Join(etc, "main.cf"), []byte(main), 0o644))
	must(t, os.WriteFile(filepath.Join(etc, "master.cf"), []byte(b.String()), 0o644))
	s.run(t, argv, first)
	return s
}

// run starts the program and waits for its first port.
func (s *server) run(t *testing.T, argv []string, port int) {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	must(t, cmd.Start())
	s.pid = cmd.Process.Pid
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		_ = cmd.Wait() // it ends by our signal
		if t.Failed() {
			t.Logf("log of %s\n%s", s.name, s.log())
		}
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
		t.Fatalf("%s does not start: %s", s.name, s.log())
	}
}

// log is the mail log.
func (s *server) log() string {
	text, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil {
		return ""
	}
	return string(text)
}

// freePorts finds n ports in a row that nobody listens on, below those that the
// kernel gives to connections.
func freePorts(t *testing.T, n int) int {
	t.Helper()
	first := 13000 + os.Getpid()%5000
	for port := first; port < 20000; port++ {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			first = port + 1
			continue
		}
		must(t, l.Close())
		if port-first+1 == n {
			return first
		}
	}
	t.Fatal("not enough free ports")
	return 0
}
