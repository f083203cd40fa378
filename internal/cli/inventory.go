package cli

import (
	"postroad/internal/access"
	"postroad/internal/agent"
	"postroad/internal/agent/smtp"
	"postroad/internal/bounce"
	"postroad/internal/cleanup"
	"postroad/internal/master"
	"postroad/internal/qmgr"
	"postroad/internal/rewrite"
	"postroad/internal/sasl"
	"postroad/internal/smtpd"
	"postroad/internal/tlsmgr"
)

// AllSettings are the Settings of every room: a main.cf parameter is implemented
// when one of them has it.
func AllSettings() []any {
	return []any{
		access.Settings{}, agent.MailboxSettings{}, agent.VirtualSettings{}, agent.LocalSettings{}, smtp.Common{}, smtp.Settings{},
		bounce.Settings{}, cleanup.Settings{}, master.Settings{}, qmgr.Settings{}, rewrite.Settings{},
		sasl.Settings{}, smtpd.Settings{}, tlsmgr.Settings{}, Settings{},
	}
}
