//go:build oracle

package table

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"postroad/internal/testkit"
)

// both asks Postfix and us for one key, and compares: the answer, "-" for none, and
// "!" for an error.
func both(t *testing.T, d *database, settings, key, want string) {
	t.Helper()
	dir := oracleDir(t)
	path := writeFile(t, dir, "x.cf", d.login+settings+"\n")
	out, diag := postfix(t, dir, "", "postmap", "-q", key, d.typ+":"+path)
	theirs := strings.TrimSuffix(out, "\n")
	switch {
	case strings.Contains(diag, "fatal"):
		theirs = "!"
	case out == "":
		theirs = "-"
	}
	if ours := ask(t, d.typ+":"+path, key); ours != theirs || ours != want {
		t.Errorf("%s, key %q: we say %q, Postfix %q, want %q; %s", settings, key, ours, theirs, want, diag)
	}
}

// ask looks one key up in a table of its own.
func ask(t *testing.T, spec, key string) string {
	t.Helper()
	tab, err := Open(spec, Options{UTF8: true})
	if err != nil {
		return "!"
	}
	defer tab.Close()
	value, ok, err := tab.Lookup(context.Background(), key)
	switch {
	case err != nil:
		t.Logf("%v", err)
		return "!"
	case !ok:
		return "-"
	}
	return value
}

func TestOracleMySQLDetails(t *testing.T) {
	t.Parallel()
	d, s := mariaDatabase(t)
	d.run(`CREATE TABLE types (a INT, b BIGINT UNSIGNED, c DOUBLE, d FLOAT, e DECIMAL(10,3), f DATE, g DATETIME, h BOOLEAN, i BIT(8), j YEAR, k ENUM('x','y'), l TINYINT UNSIGNED, m TEXT CHARACTER SET latin1);
INSERT INTO types VALUES (-7, 18446744073709551615, 0.1, 0.25, 12.5, '2024-02-29', '2024-02-29 01:02:03', TRUE, b'1000001', 2024, 'y', 255, 'é');
CREATE TABLE big (v MEDIUMTEXT); INSERT INTO big VALUES (REPEAT('x', 200000));
DELIMITER //
CREATE PROCEDURE one(IN k VARCHAR(255)) BEGIN SELECT CONCAT('<', k, '>'); END//
CREATE PROCEDURE two(IN k VARCHAR(255)) BEGIN SELECT 1; SELECT 2; END//
CREATE PROCEDURE nothing(IN k VARCHAR(255)) BEGIN SET @x = k; END//
CREATE PROCEDURE maybe(IN k VARCHAR(255)) BEGIN IF k = 'yes' THEN SELECT 'found'; END IF; END//
CREATE PROCEDURE fails(IN k VARCHAR(255)) BEGIN SELECT 1; SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no'; END//
DELIMITER ;`)
	tests := []struct{ settings, key, want string }{
		{"query = SELECT * FROM types", "k", "-7,18446744073709551615,0.1,0.25,12.500,2024-02-29,2024-02-29 01:02:03,1,A,2024,y,255,é"},
		{"query = SELECT 1e15, 1e14, 123456789012345678e0, 1e-5, -1.5e300, 2/3, 10/4, 0e0, 1e-15, 100*1.0", "k", "1e15,100000000000000,1.2345678901234568e17,0.00001,-1.5e300,0.6667,2.5000,0,0.000000000000001,100.0"},
		{"query = SELECT v FROM big", "k", strings.Repeat("x", 200000)},
		{"query = CALL one('%s')", "o'k", "<o'k>"},
		{"query = CALL two('%s')", "k", "!"},
		{"query = CALL nothing('%s')", "k", "!"},
		{"query = CALL nothing('%s')\nrequire_result_set = no", "k", "-"},
		{"query = CALL maybe('%s')\nrequire_result_set = no", "yes", "found"},
		{"query = CALL maybe('%s')\nrequire_result_set = no", "no", "-"},
		{"query = CALL fails('%s')", "k", "!"},
		{"query = SET @x = '%s'", "k", "!"},
		{"query = SELECT 1; SELECT 2", "k", "!"},
		{"query = SELECT 1;", "k", "1"},
		{"query = SELECT FROM", "k", "!"},
		{"query = SELECT x FROM nosuch", "k", "!"},
		{"query = SELECT '', NULL, 'x'", "k", "x"},
		{"query = SELECT ''", "k", "-"},
		{"query = SELECT 1 UNION SELECT 2\nexpansion_limit = 1", "k", "!"},
		{"query = SELECT 1 UNION SELECT 2\nexpansion_limit = 2", "k", "1,2"},
		{"query = SELECT '%s'\nresult_format = é%s", "ü😀", "éü😀"},
		{"query = SELECT \"%s\"", "a\"b\\c'd", "a\"b\\c'd"},
		{"query = SELECT '%s'\npassword = wrong", "k", "!"},
		{"query = SELECT '%s'\ndbname = nosuch", "k", "!"},
		{"query = SELECT '%s'\ndbname =", "k", "!"},
		{"query = SELECT '%s'\nhosts = localhost:nosuch", "k", "!"},
		{"query = SELECT '%s'\nhosts = unix:/nonexistent unix:" + s.Socket, "k", "k"},
		{fmt.Sprintf("query = SELECT '%%s'\nhosts = 127.0.0.1:1, inet:127.0.0.1:%d", s.Port), "k", "k"},
	}
	for _, test := range tests {
		both(t, d, test.settings, test.key, test.want)
	}
	for _, settings := range []string{"option_file = /etc/my.cnf", "option_group = mail", "charset = gbk", "charset = x;y"} {
		if got := ask(t, "mysql:"+writeFile(t, t.TempDir(), "x.cf", d.login+"query = SELECT 1\n"+settings+"\n"), "k"); got != "!" {
			t.Errorf("%s: %q", settings, got)
		}
	}
	// Without backslash escapes.
	s.Run("SET GLOBAL sql_mode = 'NO_BACKSLASH_ESCAPES'")
	for _, key := range []string{`a\b`, `a'b`, `\'`, `'' or \'`, `a"b`} {
		both(t, d, "query = SELECT '%s'", key, key)
	}
	if got := ask(t, "mysql:"+writeFile(t, t.TempDir(), "x.cf", d.login+"query = SELECT \"%s\"\n"), "k"); got != "!" {
		t.Errorf("double quotes: %q", got)
	}
}

func TestOracleMySQLTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	shell(t, "chmod 755 "+dir+" "+dir+"/..")
	cert, key, err := testkit.SelfSignedPEM("db.example", "localhost")
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := testkit.SelfSignedPEM("other.example")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{"cert": cert, "key": key, "other": other}
	for name, text := range files {
		if err := os.WriteFile(dir+"/"+name, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	d, s := mariaDatabase(t, "--ssl-cert="+dir+"/cert", "--ssl-key="+dir+"/key", "--ssl-ca="+dir+"/cert")
	s.Run("CREATE USER safe IDENTIFIED BY 'secret' REQUIRE SSL; GRANT ALL ON mail.* TO safe;")
	tcp := fmt.Sprintf("\nhosts = 127.0.0.1:%d\nuser = safe\nquery = SELECT IF(variable_value='','plain','tls') FROM information_schema.session_status WHERE variable_name='ssl_cipher'\n", s.Port)
	tests := []struct{ settings, want string }{
		{"", "!"},
		{"tls_CAfile = " + dir + "/cert", "tls"},
		{"tls_CAfile = " + dir + "/other", "!"},
		{"tls_CAfile = " + dir + "/other\ntls_verify_cert = no", "!"},
		{"tls_CAfile = " + dir + "/cert\ntls_verify_cert = no", "tls"},
		{"tls_CAfile = " + dir + "/other\ntls_verify_cert = yes", "!"},
		{"tls_CAfile = " + dir + "/cert\ntls_verify_cert = yes", "!"}, // for localhost, not for 127.0.0.1
	}
	for _, test := range tests {
		both(t, d, tcp+test.settings, "k", test.want)
	}
	for settings, want := range map[string]string{
		"tls_CApath = " + dir: "tls", "tls_ciphers = HIGH\ntls_verify_cert = yes": "!", "tls_CAfile = " + dir + "/key": "!", "tls_CAfile = " + dir + "/nosuch": "!",
		"tls_cert_file = " + dir + "/cert\ntls_key_file = " + dir + "/key": "tls", "tls_cert_file = " + dir + "/cert": "!",
		"tls_ciphers = HIGH": "tls",
	} {
		if got := ask(t, "mysql:"+writeFile(t, t.TempDir(), "x.cf", d.login+tcp+settings+"\n"), "k"); got != want {
			t.Errorf("%s: %q, want %q", settings, got, want)
		}
	}
}

func TestOraclePgSQLTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	shell(t, "chmod 755 "+dir+" "+dir+"/..")
	cert, key, err := testkit.SelfSignedPEM("localhost")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"cert": cert, "key": key} {
		if err := os.WriteFile(dir+"/"+name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	shell(t, "chmod 644 "+dir+"/cert && chown postgres "+dir+"/key")
	d, s := postgresDatabase(t, "ssl = on", "ssl_cert_file = '"+dir+"/cert'", "ssl_key_file = '"+dir+"/key'")
	const query = "query = SELECT CASE WHEN ssl THEN 'tls' ELSE 'plain' END FROM pg_stat_ssl WHERE pid = pg_backend_pid()\n"
	both(t, d, query, "k", "tls")
	uri := fmt.Sprintf("hosts = postgresql://mail:secret@localhost:%d/mail?sslmode=", s.Port)
	for mode, want := range map[string]string{
		"disable": "plain", "require": "tls", "verify-full&sslrootcert=" + dir + "/cert": "tls", "verify-full&sslrootcert=" + dir + "/nosuch": "!",
		"verify-full": "!",
	} {
		if got := ask(t, "pgsql:"+writeFile(t, t.TempDir(), "x.cf", d.login+query+uri+mode+"\n"), "k"); got != want {
			t.Errorf("sslmode=%s: %q, want %q", mode, got, want)
		}
	}
}

func TestOraclePgSQLDetails(t *testing.T) {
	t.Parallel()
	d, s := postgresDatabase(t)
	d.run(`CREATE TABLE types (a INT, b NUMERIC, c FLOAT8, d BOOLEAN, e DATE, f TIMESTAMP, g TEXT[], h JSONB, i BYTEA, j CHAR(4));
INSERT INTO types VALUES (-7, 12.50, 0.1, true, '2024-02-29', '2024-02-29 01:02:03', '{a,"b c"}', '{"x": 1}', '\x41ff', 'ab');
CREATE TABLE big (v TEXT); INSERT INTO big VALUES (repeat('x', 200000));
CREATE FUNCTION find(k TEXT) RETURNS TEXT LANGUAGE SQL AS $$ SELECT '<' || k || '>' $$;
CREATE FUNCTION many(k TEXT) RETURNS SETOF TEXT LANGUAGE SQL AS $$ SELECT k UNION ALL SELECT 'x' $$;
CREATE FUNCTION nothing(k TEXT) RETURNS VOID LANGUAGE SQL AS $$ SELECT NULL::void $$;`)
	tests := []struct{ settings, key, want string }{
		{"query = SELECT * FROM types", "k", `-7,12.50,0.1,t,2024-02-29,2024-02-29 01:02:03,{a,"b c"},{"x": 1},\x41ff,ab  `},
		{"query = SELECT v FROM big", "k", strings.Repeat("x", 200000)},
		{"select_function = find", "o'k", "<o'k>"},
		{"select_function = many", "k", "k,x"},
		{"select_function = nothing", "k", "-"},
		{"select_function = find\nquery = SELECT 'query'", "k", "query"},
		{"query = SELECT 1; SELECT 2", "k", "2"},
		{"query = SELECT 1; SELECT x FROM nosuch", "k", "!"},
		{"query = SELECT 1; SELECT 2; SET application_name = 'x'", "k", "-"},
		{"query = ;", "k", "!"},
		{"query = SELECT FROM nosuch", "k", "!"},
		{"query = SELECT '', NULL, 'x'", "k", "x"},
		{"query = SELECT 1 UNION SELECT 2 ORDER BY 1\nexpansion_limit = 1", "k", "!"},
		{"query = SELECT '%s'\npassword = wrong", "k", "!"},
		{"query = SELECT '%s'\ndbname = nosuch", "k", "!"},
		{"query = SELECT '%s'\ndbname =", "k", "!"},
		{"query = SELECT '%s'\nhosts = unix:" + s.Dir + "\ndbname = port=" + fmt.Sprint(s.Port) + " dbname=mail", "k", "k"},
		{fmt.Sprintf("query = SELECT '%%s'\nhosts = 127.0.0.1:1, 127.0.0.1:%d", s.Port), "k", "k"},
	}
	for _, test := range tests {
		both(t, d, test.settings, test.key, test.want)
	}
	// What Postfix 3.7 does not have yet.
	uri := fmt.Sprintf("postgresql://mail:secret@127.0.0.1:%d/mail", s.Port)
	later := []struct{ settings, key, want string }{
		{"encoding = UTF8\nquery = SELECT '%s' || length('%s')", "é😀", "é😀2"},
		{"hosts = " + uri + "\ndbname =\npassword = ignored", "k", "k"},
		{"hosts = " + uri + "?sslmode=disable&keepalives=1&application_name=mail&connect_timeout=3", "k", "k"},
		{"hosts = " + uri + "?sslmode=require", "k", "!"},
		{"hosts = " + uri + "?requirepeer=x", "k", "!"},
		{"hosts = " + uri + "?gssencmode=prefer", "k", "k"},
		{"hosts = postgresql://mail:wrong@127.0.0.1:1/mail " + uri, "k", "k"},
		{"hosts = postgresql://mail@/mail?host=" + s.Dir + "&port=" + fmt.Sprint(s.Port), "k", "k"},
		{"hosts = postgresql://mail:se:cr@et@[::bad/mail", "k", "!"},
		{"encoding = SJIS", "k", "!"},
		{"encoding = nosuch", "k", "!"},
	}
	for _, test := range later {
		settings := d.login + "query = SELECT '%s'\n" + test.settings + "\n"
		if got := ask(t, "pgsql:"+writeFile(t, t.TempDir(), "x.cf", settings), test.key); got != test.want {
			t.Errorf("%s: %q, want %q", test.settings, got, test.want)
		}
	}
	s.Run("ALTER ROLE mail SET standard_conforming_strings = off")
	for _, key := range []string{`a\b`, `a'b`, `\'`, `'' or \'`} {
		both(t, d, "query = SELECT '%s'", key, key)
	}
}
