package agent

import "time"

// MailboxSettings are the main.cf parameters about mailbox files that local(8)
// and virtual(8) share.
type MailboxSettings struct {
	Myhostname string `postconf:"myhostname"`
	// LockAttempts, LockDelay and StaleLock bound the wait for a mailbox lock.
	LockAttempts int           `postconf:"deliver_lock_attempts"`
	LockDelay    time.Duration `postconf:"deliver_lock_delay"`
	StaleLock    time.Duration `postconf:"stale_lock_time"`
	// StrictOwnership is the default; without it a mailbox of somebody else
	// would be written, which we never do.
	StrictOwnership bool `postconf:"strict_mailbox_ownership"`
}

// VirtualSettings are the main.cf parameters that virtual(8) reads.
type VirtualSettings struct {
	MailboxBase  string   `postconf:"virtual_mailbox_base"`
	MailboxMaps  []string `postconf:"virtual_mailbox_maps"`
	UIDMaps      []string `postconf:"virtual_uid_maps"`
	GIDMaps      []string `postconf:"virtual_gid_maps"`
	MinimumUID   int      `postconf:"virtual_minimum_uid"`
	MailboxLimit int64    `postconf:"virtual_mailbox_limit"`
	MailboxLock  []string `postconf:"virtual_mailbox_lock"`
}

// CommandSettings are the main.cf parameters about what commands find around
// them.
type CommandSettings struct {
	ConfigDirectory   string   `postconf:"config_directory"`
	ImportEnvironment []string `postconf:"import_environment"`
	ExportEnvironment []string `postconf:"export_environment"`
	QueueDirectory    string   `postconf:"queue_directory"`
}

// PipeSettings are the main.cf parameters that pipe(8) reads.
type PipeSettings struct {
	CommandSettings
	MailOwner   string `postconf:"mail_owner"`
	SetgidGroup string `postconf:"setgid_group"`
}

// LocalSettings are the main.cf parameters that local(8) reads.
type LocalSettings struct {
	CommandSettings
	AliasMaps             []string      `postconf:"alias_maps"`
	AllowMailCommands     []string      `postconf:"allow_mail_to_commands"`
	AllowMailFiles        []string      `postconf:"allow_mail_to_files"`
	ForwardPath           string        `postconf:"forward_path"`
	HomeMailbox           string        `postconf:"home_mailbox"`
	MailSpoolDirectory    string        `postconf:"mail_spool_directory"`
	MailboxCommand        string        `postconf:"mailbox_command"`
	MailboxCommandMaps    []string      `postconf:"mailbox_command_maps"`
	MailboxTransport      string        `postconf:"mailbox_transport"`
	MailboxTransportMaps  []string      `postconf:"mailbox_transport_maps"`
	FallbackTransport     string        `postconf:"fallback_transport"`
	FallbackTransportMaps []string      `postconf:"fallback_transport_maps"`
	LuserRelay            string        `postconf:"luser_relay"`
	MailboxSizeLimit      int64         `postconf:"mailbox_size_limit"`
	MailboxLock           []string      `postconf:"mailbox_delivery_lock"`
	CommandTimeLimit      time.Duration `postconf:"command_time_limit"`
	CommandFilter         string        `postconf:"command_expansion_filter"`
	LocalCommandShell     string        `postconf:"local_command_shell"`
	Delimiter             string        `postconf:"recipient_delimiter"`
	ForwardFilter         string        `postconf:"forward_expansion_filter"`
	ExecutionDirectory    string        `postconf:"command_execution_directory"`
	ExecutionFilter       string        `postconf:"execution_directory_expansion_filter"`
	OwnerRequest          bool          `postconf:"owner_request_special"`
	RequireHome           bool          `postconf:"require_home_directory"`
	FrozenDelivered       bool          `postconf:"frozen_delivered_to"`
	ExpandOwner           bool          `postconf:"expand_owner_alias"`
	ResetOwner            bool          `postconf:"reset_owner_alias"`
	PrependDelivered      []string      `postconf:"prepend_delivered_header"`
	DefaultPrivs          string        `postconf:"default_privs"`
	DuplicateLimit        int           `postconf:"duplicate_filter_limit"`
	Propagate             []string      `postconf:"propagate_unmatched_extensions"`
}
