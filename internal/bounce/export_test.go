package bounce

import (
	"bufio"
	"strings"
)

// wrapText is what wrapped writes.
func wrapText(text string) string {
	var b strings.Builder
	p := &printer{w: bufio.NewWriter(&b)}
	p.wrapped(text)
	p.w.Flush()
	return b.String()
}
