package testkit

import (
	"fmt"
	"regexp"
	"strings"
)

// Munger hides what must vary between two runs of the same test: queue ids,
// times, process numbers, delays, sizes. A queue id becomes QID1, QID2, ... in
// the order of Learn, so that the same id is still seen to be the same.
type Munger struct {
	names map[string]string
	ids   *regexp.Regexp
}

// NewMunger returns a Munger that knows no queue id yet.
func NewMunger() *Munger { return &Munger{names: map[string]string{}} }

// logID finds the queue id at the start of a mail log line, behind the tag.
var logID = regexp.MustCompile(`^[^[]*\[\d+\]: (?:warning: )?([0-9A-Za-z]{6,24}): `)

// replyID finds the queue id in the reply to the end of the data.
var replyID = regexp.MustCompile(`^2\d\d .*queued as ([0-9A-Za-z]{6,24})\r?$`)

// listID and jsonID find it in listings of the queue.
var (
	listID = regexp.MustCompile(`^([0-9A-Za-z]{6,24})[*!#]? +\d+ ` + weekday + ` `)
	jsonID = regexp.MustCompile(`"queue_id": "([0-9A-Za-z]{6,24})"`)
)

// Learn takes note of a queue id in a line of the mail log, in a reply or in a
// listing.
func (m *Munger) Learn(line string) {
	for _, re := range []*regexp.Regexp{logID, replyID, listID, jsonID} {
		if g := re.FindStringSubmatch(line); g != nil && IsQueueID(g[1]) {
			m.Name(g[1])
		}
	}
}

// IsQueueID tells whether word looks like a queue id, long or short form. A
// word of lower-case letters alone is no id.
func IsQueueID(word string) bool {
	if len(word) < 6 {
		return false
	}
	digits, short := 0, true
	for _, c := range []byte(word) {
		switch {
		case c >= '0' && c <= '9':
			digits++
		case c >= 'A' && c <= 'F':
		case c >= 'B' && c <= 'Z' || c >= 'b' && c <= 'z':
			short = false
		default:
			return false
		}
	}
	return short || digits > 0 && len(word) >= 10 && strings.Contains(word, "z")
}

// Name is the stand-in for a queue id.
func (m *Munger) Name(id string) string {
	if n, ok := m.names[id]; ok {
		return n
	}
	n := fmt.Sprintf("QID%d", len(m.names)+1)
	m.names[id] = n
	m.ids = nil
	return n
}

// mungeRow is one replacement.
type mungeRow struct {
	find *regexp.Regexp
	put  string
}

const (
	weekday = `(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)`
	month   = `(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)`
)

// mungeRows hide the rest. Their order matters: long forms come first.
var mungeRows = []mungeRow{
	// RFC 5322 date, also with the zone's name in parentheses.
	{regexp.MustCompile(weekday + `, +\d{1,2} ` + month + ` \d{4} \d\d:\d\d:\d\d [-+]\d{4}(?: \(\w+\))?`), "DATE"},
	// ctime in mbox separators, and with no year in queue listings.
	{regexp.MustCompile(weekday + ` ` + month + ` [ \d]\d \d\d:\d\d:\d\d(?: \d{4})?`), "CTIME"},
	{regexp.MustCompile(`^` + month + ` [ \d]\d \d\d:\d\d:\d\d `), ""},
	{regexp.MustCompile(`\bdelay=[0-9.]+, delays=[0-9./]+`), "delay=D, delays=D"},
	{regexp.MustCompile(`\b(from=<[^>]*>, )size=\d+`), "${1}size=S"},
	{regexp.MustCompile(`(?i)((?:^mail|MAIL) FROM:<[^>]*>.*) SIZE=\d+`), "$1 SIZE=S"},
	// Process number behind a tag of the log.
	{regexp.MustCompile(`(postfix[-/\w]*)\[\d+\]`), "$1"},
	{regexp.MustCompile(`PID: \d+`), "PID: PID"},
	// Message-Id and MIME boundary hold a queue id and the time.
	{regexp.MustCompile(`\b\d{14}\.(QID\d+)\b`), "TIME.$1"},
	{regexp.MustCompile(`\b(QID\d+)\.\d{10}/`), "$1.EPOCH/"},
	// Queue listings.
	{regexp.MustCompile(`^(QID\d+)([*!#]?) +\d+ CTIME +`), "$1$2 SIZE CTIME "},
	{regexp.MustCompile(`"arrival_time": \d+`), `"arrival_time": TIME`},
	{regexp.MustCompile(`"message_size": \d+`), `"message_size": SIZE`},
	{regexp.MustCompile(`^-Queue ID- +--Size-- ----Arrival Time---- -Sender/Recipient-------$`), "-Queue ID- --Size-- ----Arrival Time---- -Sender/Recipient-------"},
	{regexp.MustCompile(`^-- \d+ Kbytes in`), "-- N Kbytes in"},
	// The port of a client, and how long it took.
	{regexp.MustCompile(`((?:postscreen|tlsproxy): .*?\]):[3-6]\d{4}\b`), "$1:PORT"},
	{regexp.MustCompile(`(postscreen: (?:PREGREET \d+|HANGUP) after )[0-9.]+ `), "${1}T "},
	// What two TLS libraries agree on.
	{regexp.MustCompile(`with cipher \S+ \(\d+/\d+ bits\)`), "with CIPHER"},
	{regexp.MustCompile(`key-exchange [-\w]+(?: \([^)]*\))? server-signature [-\w]+ \([^)]*\)(?: server-digest \w+)?`), "KEYEXCHANGE"},
}

// Line hides what varies in one line.
func (m *Munger) Line(s string) string {
	if len(m.names) > 0 {
		if m.ids == nil {
			m.ids = m.pattern()
		}
		s = m.ids.ReplaceAllStringFunc(s, func(id string) string { return m.names[id] })
	}
	for _, row := range mungeRows {
		s = row.find.ReplaceAllString(s, row.put)
	}
	return s
}

// pattern matches every known id as a whole word.
func (m *Munger) pattern() *regexp.Regexp {
	var alt []string
	for id := range m.names {
		alt = append(alt, regexp.QuoteMeta(id))
	}
	return regexp.MustCompile(`\b(?:` + strings.Join(alt, "|") + `)\b`)
}

// Text hides what varies in every line of a text.
func (m *Munger) Text(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = m.Line(line)
	}
	return strings.Join(lines, "\n")
}
