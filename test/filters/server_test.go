//go:build oracle

package filters

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postroad/internal/testkit"
	"postroad/internal/testkit/mailkit"
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
	*mailkit.Server
	sink *testkit.Sink
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
	sink, err := testkit.StartSink("", "")
	must(t, err)
	t.Cleanup(func() { _ = sink.Close() })
	s := &server{mailkit.New(t, name, mailkit.Programs{Bin: *binDir, Sbin: *sbin}), sink}
	cert, key, err := testkit.SelfSignedPEM("mx.test")
	must(t, err)
	chain := filepath.Join(s.Dir, "etc/chain.pem")
	must(t, os.WriteFile(chain, append(key, cert...), 0o600))
	host, port, _ := strings.Cut(sink.Addr, ":")
	main = baseMain + "smtpd_tls_chain_files = " + chain + "\ndefault_transport = smtp:[" + host + "]:" + port + "\n" + main
	var b strings.Builder
	b.WriteString(baseMaster)
	for _, svc := range services {
		fmt.Fprintf(&b, "127.0.0.1:%d inet n - n - - smtpd\n", svc.port)
		for _, set := range svc.settings {
			fmt.Fprintf(&b, "  -o { %s }\n", set)
		}
	}
	s.Start(main, b.String(), "tcp", fmt.Sprintf("127.0.0.1:%d", services[0].port))
	// What the log says of that first connection belongs to no case.
	if !wait(t, 20*time.Second, func() bool { return strings.Contains(s.Log(0), "disconnect from") }) {
		t.Fatal("the log does not say that the first client has gone")
	}
	return s
}

// wait polls until done or for a while.
func wait(t *testing.T, limit time.Duration, done func() bool) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	return testkit.Poll(ctx, 10*time.Millisecond, done)
}
