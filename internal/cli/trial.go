package cli

import (
	"crypto/rand"
	"embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"postroad/internal/tlsmgr"
)

// trialFiles are the configuration files of "postroad run", as they are written
// into a new folder.
//
//go:embed trial/*
var trialFiles embed.FS

// trialHost is the name of the trial server.
const trialHost = "mail.example.test"

// makeTrial makes the folder of a trial server and tells whether it is new. A
// folder that has a main.cf is left alone. main.cf is written last, so that a
// folder half made is made again.
func makeTrial(dir string) (fresh bool, err error) {
	if exists(dir, "main.cf") {
		return false, nil
	}
	for _, sub := range []string{"", "queue", "data", "mail", "mail/alice", "mail/bob"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return false, err
		}
	}
	cert, key, err := tlsmgr.SelfSigned([]string{trialHost, "localhost", "127.0.0.1"})
	if err != nil {
		return false, err
	}
	if err := os.WriteFile(filepath.Join(dir, "tls.pem"), append(key, cert...), 0o600); err != nil {
		return false, err
	}
	password := strings.ToLower(rand.Text()[:12])
	for _, name := range []string{"master.cf", "mailboxes", "aliases", "users", "main.cf"} {
		text, err := trialFiles.ReadFile("trial/" + name)
		if err != nil {
			return false, err
		}
		mode := os.FileMode(0o644)
		if name == "users" {
			mode = 0o600
			text = []byte(strings.ReplaceAll(string(text), "PASSWORD", password))
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, mode); err != nil {
			return false, err
		}
	}
	return true, nil
}

// trialPassword reads alice's password from the table of users.
func trialPassword(dir string) (string, error) {
	text, err := os.ReadFile(filepath.Join(dir, "users"))
	if err != nil {
		return "", err
	}
	for _, line := range strings.Split(string(text), "\n") {
		fields := strings.Fields(line)
		if len(fields) != 2 || fields[0] != "alice@example.test" {
			continue
		}
		if password, ok := strings.CutPrefix(fields[1], "{PLAIN}"); ok {
			return password, nil
		}
		return "", errors.New("the password is hashed")
	}
	return "", fmt.Errorf("%s: no alice", dir)
}
