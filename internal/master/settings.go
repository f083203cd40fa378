package master

import (
	"os"
	"strconv"
	"strings"
	"time"
)

// Settings are the main.cf parameters that master(8) reads.
type Settings struct {
	// QueueDirectory is where pid, public, private and maildrop lie; DataDirectory
	// is for files that only the mail owner writes.
	QueueDirectory string `postconf:"queue_directory"`
	// WindowSize is the size of the buffers of TCP sockets, 0 for the system's.
	WindowSize    int    `postconf:"tcp_windowsize"`
	DataDirectory string `postconf:"data_directory"`
	// MailOwner is the user the worker runs as, SetgidGroup the group of the
	// commands that any user may run.
	MailOwner   string `postconf:"mail_owner"`
	SetgidGroup string `postconf:"setgid_group"`
	// MailSpoolDirectory and HomeMailbox bound what is done with root's rights.
	MailSpoolDirectory string `postconf:"mail_spool_directory"`
	HomeMailbox        string `postconf:"home_mailbox"`
	// Myhostname is printed in lines of the log file, MailVersion at start.
	Myhostname  string `postconf:"myhostname"`
	MailVersion string `postconf:"mail_version"`
	// InetInterfaces and InetProtocols say where services without a host listen.
	InetInterfaces []string `postconf:"inet_interfaces"`
	InetProtocols  []string `postconf:"inet_protocols"`
	// CommandTime limits the commands of spawn services, ProcessLimit how many run
	// at a time; Environment is what they may see of ours.
	CommandTime  time.Duration `postconf:"command_time_limit"`
	ProcessLimit int           `postconf:"default_process_limit"`
	Environment  []string      `postconf:"export_environment"`
	// Maillog and Syslog parameters say where the log goes.
	MaillogFile            string   `postconf:"maillog_file"`
	AddressFormat          string   `postconf:"info_log_address_format"`
	MaillogFilePrefixes    []string `postconf:"maillog_file_prefixes"`
	MaillogFilePermissions string   `postconf:"maillog_file_permissions"`
	SyslogFacility         string   `postconf:"syslog_facility"`
	SyslogName             string   `postconf:"syslog_name"`
}

// LogMode is maillog_file_permissions as a number.
func (s *Settings) LogMode() os.FileMode {
	n, err := strconv.ParseUint(strings.TrimSpace(s.MaillogFilePermissions), 8, 12)
	if err != nil {
		return 0o600
	}
	return os.FileMode(n)
}
