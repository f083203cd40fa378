//go:build oracle

package table

import (
	"testing"
)

// site is a database as a product that manages mail makes it, and the tables that its
// Postfix has.
type site struct {
	name   string
	typ    string
	schema string
	// tables are the settings of each table, without its login.
	tables []string
}

// siteKeys are what a mail server asks those tables.
var siteKeys = []string{
	"joe@example.com", "Joe@Example.COM", "joe+lists@example.com", "ann@example.com", "off@example.com", "nobody@example.com", "@example.com",
	"info@example.com", "list@example.com", "joe@alias.example", "nobody@alias.example", "@alias.example", "@catch.example", "any@catch.example", "example.com", "alias.example",
	"catch.example", "backup.example", "any@backup.example", ".com", "com", "joe", "joe+lists", "*", "o'brien@example.com", "é@example.com", "192.0.2.1", "unknown.example",
}

// sites are modelled on the tables of well-known products.
var sites = []site{
	{name: "postfixadmin", typ: "mysql", schema: `
CREATE TABLE domain (domain VARCHAR(255) PRIMARY KEY, backupmx TINYINT(1), active TINYINT(1), transport VARCHAR(255));
INSERT INTO domain VALUES ('example.com',0,1,'virtual'),('catch.example',0,1,'lmtp:unix:private/dovecot'),('backup.example',1,1,'relay:[mx.example]:25'),('gone.example',0,0,'virtual');
CREATE TABLE alias (address VARCHAR(255) PRIMARY KEY, goto TEXT, active TINYINT(1));
INSERT INTO alias VALUES ('joe@example.com','joe@example.com',1),('o\'brien@example.com','joe@example.com',1),('info@example.com','joe@example.com,ann@example.com',1),('off@example.com','joe@example.com',0),('@catch.example','ann@example.com',1);
CREATE TABLE alias_domain (alias_domain VARCHAR(255), target_domain VARCHAR(255), active TINYINT(1));
INSERT INTO alias_domain VALUES ('alias.example','example.com',1);
CREATE TABLE mailbox (username VARCHAR(255) PRIMARY KEY, maildir VARCHAR(255), quota BIGINT, active TINYINT(1));
INSERT INTO mailbox VALUES ('joe@example.com','example.com/joe/',102400000,1),('ann@example.com','example.com/ann/',0,1),('off@example.com','x/',1,0);`,
		tables: []string{
			"query = SELECT domain FROM domain WHERE domain='%s' AND active = '1' AND backupmx = '0'",
			"query = SELECT domain FROM domain WHERE domain='%s' AND active = '1' AND backupmx = '1'",
			"query = SELECT goto FROM alias WHERE address='%s' AND active = '1'",
			"query = SELECT goto FROM alias,alias_domain WHERE alias_domain.alias_domain = '%d' and alias.address = CONCAT('%u', '@', alias_domain.target_domain) AND alias.active = 1 AND alias_domain.active='1'",
			"query = SELECT maildir FROM mailbox,alias_domain WHERE alias_domain.alias_domain = '%d' and mailbox.username = CONCAT('%u', '@', alias_domain.target_domain) AND mailbox.active = 1",
			"query = SELECT maildir FROM mailbox WHERE username='%s' AND active = '1'",
			"query = SELECT quota FROM mailbox WHERE username='%s' AND active = '1'",
			"query = SELECT transport FROM domain WHERE domain='%s' AND active = '1'",
			"table = alias\nselect_field = goto\nwhere_field = address\nadditional_conditions = and active = '1'",
		}},
	{name: "ispmail", typ: "mysql", schema: `
CREATE TABLE virtual_domains (id INT PRIMARY KEY, name VARCHAR(50));
INSERT INTO virtual_domains VALUES (1,'example.com'),(2,'catch.example');
CREATE TABLE virtual_users (id INT PRIMARY KEY, domain_id INT, email VARCHAR(100) UNIQUE, password VARCHAR(150));
INSERT INTO virtual_users VALUES (1,1,'joe@example.com','{BLF}x'),(2,1,'ann@example.com','y');
CREATE TABLE virtual_aliases (id INT PRIMARY KEY, domain_id INT, source VARCHAR(100), destination VARCHAR(100));
INSERT INTO virtual_aliases VALUES (1,1,'list@example.com','joe@example.com'),(2,1,'list@example.com','ann@example.com'),(3,2,'@catch.example','joe@example.com'),(4,1,'é@example.com','ann@example.com');`,
		tables: []string{
			"query = SELECT 1 FROM virtual_domains WHERE name='%s'",
			"query = SELECT 1 FROM virtual_users WHERE email='%s'",
			"query = SELECT destination FROM virtual_aliases WHERE source='%s'",
			"query = SELECT email FROM virtual_users WHERE email='%s'",
		}},
	{name: "mailcow", typ: "mysql", schema: `
CREATE TABLE domain (domain VARCHAR(255) PRIMARY KEY, backupmx TINYINT(1), active TINYINT(1), relayhost INT);
INSERT INTO domain VALUES ('example.com',0,1,1),('catch.example',0,1,0);
CREATE TABLE alias (id INT PRIMARY KEY, address VARCHAR(255), goto TEXT, domain VARCHAR(255), active TINYINT(1), sender_allowed TINYINT(1));
INSERT INTO alias VALUES (1,'joe@example.com','joe@example.com','example.com',1,1),(2,'info@example.com','joe@example.com,ann@example.com','example.com',2,1),(3,'@catch.example','ann@example.com','catch.example',1,1),(4,'off@example.com','joe@example.com','example.com',0,1);
CREATE TABLE alias_domain (alias_domain VARCHAR(255), target_domain VARCHAR(255), active TINYINT(1));
INSERT INTO alias_domain VALUES ('alias.example','example.com',1);
CREATE TABLE mailbox (username VARCHAR(255) PRIMARY KEY, mailbox_path_prefix VARCHAR(150), domain VARCHAR(255), attributes JSON, active TINYINT(1));
INSERT INTO mailbox VALUES ('joe@example.com','/var/vmail/','example.com','{"mailbox_format": "maildir:", "tls_enforce_in": "1"}',1),('ann@example.com','/var/vmail/','example.com','{"mailbox_format": "maildir:"}',2);
CREATE TABLE relayhosts (id INT PRIMARY KEY, hostname TEXT, username TEXT, password TEXT, active TINYINT(1));
INSERT INTO relayhosts VALUES (1,'[smtp.example]:587','us\'er','pa:ss\\w"ord',1);`,
		tables: []string{
			"query = SELECT goto FROM alias\n  WHERE address='%s'\n    AND (active='1' OR active='2');",
			"query = SELECT CONCAT(JSON_UNQUOTE(JSON_VALUE(attributes, '$.mailbox_format')), mailbox_path_prefix, '%d/%u/') FROM mailbox WHERE username='%s' AND (active = '1' OR active = '2')",
			"query = SELECT IF(EXISTS(\n  SELECT 'TLS_ACTIVE' FROM alias\n    LEFT OUTER JOIN mailbox ON mailbox.username = alias.goto\n      WHERE (address='%s' OR address IN (\n          SELECT CONCAT('%u', '@', target_domain) FROM alias_domain WHERE alias_domain='%d'))\n      AND JSON_UNQUOTE(JSON_VALUE(attributes, '$.tls_enforce_in')) = '1' AND mailbox.active = '1'\n  ), 'reject_plaintext_session', NULL) AS 'tls_enforce_in';",
			"query = SELECT goto FROM alias\n  WHERE id IN (SELECT COALESCE ((SELECT id FROM alias WHERE address='%s' AND sender_allowed='1'),\n    (SELECT id FROM alias WHERE address='@%d' AND sender_allowed='1')))\n  AND active='1'\n  UNION\n  SELECT username FROM mailbox, alias_domain\n    WHERE alias_domain.alias_domain = '%d' AND mailbox.username = CONCAT('%u','@',alias_domain.target_domain) AND alias_domain.active='1';",
			"query = SELECT CONCAT_WS(':', username, password) AS auth_data FROM relayhosts\n  WHERE id IN (SELECT relayhost FROM domain WHERE CONCAT('@', domain) = '%s') AND active = '1' AND username != '';",
		}},
	{name: "iredmail", typ: "pgsql", schema: `
CREATE TABLE domain (domain VARCHAR(255) PRIMARY KEY, transport VARCHAR(255), backupmx INT2, active INT2);
INSERT INTO domain VALUES ('example.com','dovecot',0,1),('catch.example','dovecot',0,1),('backup.example','relay:[mx.example]',1,1);
CREATE TABLE forwardings (address VARCHAR(255), forwarding VARCHAR(255), domain VARCHAR(255), active INT2);
INSERT INTO forwardings VALUES ('joe@example.com','joe@example.com','example.com',1),('info@example.com','joe@example.com','example.com',1),('info@example.com','ann@example.com','example.com',1),('catch.example','ann@example.com','catch.example',1),('o''brien@example.com','joe@example.com','example.com',1);
CREATE TABLE alias_domain (alias_domain VARCHAR(255), target_domain VARCHAR(255), active INT2);
INSERT INTO alias_domain VALUES ('alias.example','example.com',1);
CREATE TABLE mailbox (username VARCHAR(255), storagebasedirectory VARCHAR(255), storagenode VARCHAR(255), maildir VARCHAR(255), domain VARCHAR(255), active INT2, transport VARCHAR(255));
INSERT INTO mailbox VALUES ('joe@example.com','/var','vmail','example.com/j/joe/','example.com',1,'');`,
		tables: []string{
			"query = SELECT domain FROM domain WHERE domain='%s' AND backupmx=0 AND active=1",
			"query = SELECT forwardings.forwarding FROM forwardings,domain WHERE forwardings.address='%s' AND forwardings.domain=domain.domain AND forwardings.active=1 AND domain.backupmx=0 AND domain.active=1",
			"query = SELECT forwardings.forwarding FROM forwardings,domain WHERE forwardings.address='%d' AND forwardings.address=domain.domain AND forwardings.active=1 AND domain.backupmx=0",
			"query = SELECT forwardings.forwarding FROM forwardings,alias_domain,domain WHERE alias_domain.alias_domain='%d' AND forwardings.address=('%u' || '@' || alias_domain.target_domain) AND alias_domain.target_domain=domain.domain AND forwardings.active=1",
			"query = SELECT (storagebasedirectory || '/' || storagenode || '/' || maildir) FROM mailbox WHERE username='%s' AND active=1",
			"query = SELECT transport FROM domain WHERE domain='%s' AND active=1",
		}},
	{name: "modoboa", typ: "pgsql", schema: `
CREATE TABLE admin_domain (id SERIAL PRIMARY KEY, name VARCHAR(100), enabled BOOLEAN, type VARCHAR(20));
INSERT INTO admin_domain (name, enabled, type) VALUES ('example.com',true,'domain'),('backup.example',true,'relaydomain'),('gone.example',false,'domain');
CREATE TABLE admin_alias (id SERIAL PRIMARY KEY, address VARCHAR(254), enabled BOOLEAN);
CREATE TABLE admin_aliasrecipient (id SERIAL PRIMARY KEY, address VARCHAR(254), alias_id INTEGER);
INSERT INTO admin_alias (address, enabled) VALUES ('info@example.com',true),('off@example.com',false),('@catch.example',true);
INSERT INTO admin_aliasrecipient (address, alias_id) VALUES ('joe@example.com',1),('ann@example.com',1),('joe@example.com',2),('ann@example.com',3);
CREATE TABLE core_user (id SERIAL PRIMARY KEY, email VARCHAR(254), is_active BOOLEAN);
INSERT INTO core_user (email, is_active) VALUES ('joe@example.com',true),('off@example.com',false);
CREATE TABLE admin_mailbox (id SERIAL PRIMARY KEY, address VARCHAR(252), domain_id INTEGER, user_id INTEGER);
INSERT INTO admin_mailbox (address, domain_id, user_id) VALUES ('joe',1,1),('off',1,2);`,
		tables: []string{
			"query = SELECT name FROM admin_domain WHERE name='%s' AND type='domain' AND enabled",
			"query = SELECT enabled FROM admin_domain WHERE name='%s'",
			"query = (SELECT rcpt.address FROM admin_aliasrecipient rcpt JOIN admin_alias al ON rcpt.alias_id=al.id WHERE al.enabled AND al.address='%s' ORDER BY rcpt.id)",
			"query = SELECT email FROM core_user u INNER JOIN admin_mailbox mb ON mb.user_id=u.id INNER JOIN admin_domain dom ON dom.id=mb.domain_id WHERE u.is_active AND mb.address='%u' AND dom.name='%d'",
			"query = SELECT 'OK' FROM admin_domain WHERE name='%s' AND enabled\nresult_format = smtp:[%s]:25",
		}},
}

// TestOracleSites asks the tables of each site what a mail server would.
func TestOracleSites(t *testing.T) {
	t.Parallel()
	maria, _ := mariaDatabase(t)
	postgres, _ := postgresDatabase(t)
	for _, s := range sites {
		d, reset := maria, "DROP DATABASE mail; CREATE DATABASE mail; USE mail;"
		if s.typ == "pgsql" {
			d, reset = postgres, "DROP SCHEMA public CASCADE; CREATE SCHEMA public;"
		}
		d.run(reset + s.schema)
		dir := oracleDir(t)
		for i, settings := range s.tables {
			path := writeFile(t, dir, s.name+string(rune('a'+i)), d.login+settings+"\n")
			agree(t, dir, s.typ+":"+path, siteKeys)
		}
	}
}
