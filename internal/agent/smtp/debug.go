package smtp

import (
	"bytes"
	"context"

	"postroad/internal/event"
)

// watch logs the dialogue with a server of debug_peer_list, as debug_peer_list of
// the SMTP server does with clients: commands and replies, and no content.
func (c *Client) watch(ctx context.Context, s *session) {
	if c.Debug == nil {
		return
	}
	found, err := c.Debug.MatchHost(ctx, s.t.host, s.t.addr)
	if err != nil {
		c.Log.Warnf("debug_peer_list: %v", err)
	}
	if found {
		s.rd.heard = func(line []byte) { s.debug('<', line) }
	}
}

// debug logs one line.
func (s *session) debug(sign rune, line []byte) {
	s.log.Infof("%c %s: %s", sign, s.relay, event.AppendEscaped(nil, line))
}

// say notes commands that go out, each with its line end.
func (s *session) say(commands []byte) {
	if s.rd.heard == nil {
		return
	}
	for line := range bytes.Lines(commands) {
		s.debug('>', bytes.TrimRight(line, "\r\n"))
	}
}
