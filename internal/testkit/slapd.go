package testkit

import (
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// schemaText is an attribute of a directory: those of hosted mail as several mail
// systems have them, all of one kind.
const schemaText = `attributetype ( 1.3.6.1.4.1.99999.1.%d NAME '%s' EQUALITY caseIgnoreMatch SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
`

// schemaNames are the attributes that any entry may have.
var schemaNames = []string{"maildrop", "address", "alternate", "state", "service", "forwardTo", "inGroup", "addrTransport", "store", "groupURL"}

// Directory is a private slapd with the suffix dc=test, whose administrator is
// cn=admin,dc=test with the password "top secret".
type Directory struct {
	*Daemon
	// Dir has its data, and ca.pem, the CA of its certificate; Socket is in it.
	Dir, Socket string
	// Port and TLSPort are on 127.0.0.1.
	Port, TLSPort int
}

// Slapd fills a directory with LDIF and starts it. REFPORT in a value that is all
// of ldap://127.0.0.1:REFPORT/ou=odd,dc=test becomes its port.
func Slapd(t testing.TB, text string) *Directory {
	t.Helper()
	dir := t.TempDir()
	d := &Directory{Dir: dir, Socket: filepath.Join(dir, "ldapi"), Port: FreePort(t), TLSPort: FreePort(t)}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(filepath.Join(dir, "data"), 0o700))
	must(writeCerts(dir))
	config := filepath.Join(dir, "slapd.conf")
	must(os.WriteFile(config, []byte(d.config()), 0o600))
	add := exec.Command("slapadd", "-q", "-f", config)
	encode := func(host string) string {
		return base64.StdEncoding.EncodeToString([]byte("ldap://" + host + "/ou=odd,dc=test"))
	}
	add.Stdin = strings.NewReader(strings.ReplaceAll(text, encode("127.0.0.1:REFPORT"), encode(fmt.Sprintf("127.0.0.1:%d", d.Port))))
	if out, err := add.CombinedOutput(); err != nil {
		t.Fatalf("slapadd: %v\n%s\nthe Debian package slapd must be installed", err, out)
	}
	urls := fmt.Sprintf("ldapi://%s/ ldap://127.0.0.1:%d/ ldaps://127.0.0.1:%d/", strings.ReplaceAll(d.Socket, "/", "%2F"), d.Port, d.TLSPort)
	d.Daemon = StartDaemon(t, "tcp", fmt.Sprintf("127.0.0.1:%d", d.Port), "slapd", "-d", "0", "-f", config, "-h", urls)
	return d
}

// config is the text of slapd.conf.
func (d *Directory) config() string {
	var schema strings.Builder
	for i, name := range schemaNames {
		fmt.Fprintf(&schema, schemaText, i+1, name)
	}
	return fmt.Sprintf(`modulepath /usr/lib/ldap
moduleload back_mdb
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
%[1]s
TLSCertificateFile %[2]s/cert.pem
TLSCertificateKeyFile %[2]s/key.pem
pidfile %[2]s/pid
sizelimit unlimited
allow bind_v2
referral ldap://127.0.0.1:%[3]d/
database mdb
suffix "dc=test"
rootdn "cn=admin,dc=test"
rootpw "top secret"
directory %[2]s/data
maxsize 100000000
index objectClass eq
`, schema.String(), d.Dir, d.Port)
}

// writeCerts makes a CA, and a certificate for 127.0.0.1 from it, in ca.pem,
// cert.pem and key.pem.
func writeCerts(dir string) error {
	var nobody *Issued
	ca, err := nobody.Issue("Test CA", nil, CA)
	if err != nil {
		return err
	}
	leaf, err := ca.Issue("directory", nil, func(t *x509.Certificate) {
		t.IPAddresses, t.ExtKeyUsage = []net.IP{net.IPv4(127, 0, 0, 1)}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	})
	if err != nil {
		return err
	}
	key, err := leaf.KeyPEM()
	if err != nil {
		return err
	}
	for name, text := range map[string][]byte{"ca.pem": ca.Chain, "cert.pem": leaf.Chain, "key.pem": key} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			return err
		}
	}
	return nil
}
