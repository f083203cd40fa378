//go:build oracle

package tls

import (
	"flag"
	"fmt"
	"strings"
	"testing"

	"postroad/internal/testkit/mailkit"
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
	*mailkit.Server
	// ports are those of the services, by name.
	ports map[string]int
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

// start runs Postfix or Postroad with the services on these ports. %D in a setting is
// the directory of the certificates.
func start(t *testing.T, name, certs string, ports []int, services []service) *server {
	t.Helper()
	s := &server{mailkit.New(t, name, mailkit.Programs{Bin: *binDir, Sbin: *sbin}), map[string]int{}}
	main := baseMain + fmt.Sprintf("smtpd_tls_chain_files = %[1]s/rsa.pem, %[1]s/ec.pem\n", certs)
	if name == mailkit.Postfix && *sbin == "" {
		main = strings.Replace(main, "compatibility_level = 3.11", "compatibility_level = 3.6", 1) // 3.7 knows no more
	}
	var b strings.Builder
	b.WriteString(baseMaster)
	for i, svc := range services {
		s.ports[svc.name] = ports[i]
		fmt.Fprintf(&b, "127.0.0.1:%d inet n - n - - smtpd\n", ports[i])
		for _, set := range svc.settings {
			fmt.Fprintf(&b, "  -o { %s }\n", strings.ReplaceAll(set, "%D", certs))
		}
	}
	s.Start(main, b.String(), "tcp", fmt.Sprintf("127.0.0.1:%d", ports[len(services)-1]))
	return s
}
