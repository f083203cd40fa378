package postconf

// Charset are the characters that a value from outside may have where it is put into
// a text: smtpd_expansion_filter and its like.
type Charset [256]bool

// NewCharset returns the set of the bytes of chars.
func NewCharset[S ~string | ~[]byte](chars S) *Charset {
	c := new(Charset)
	for i := range len(chars) {
		c[chars[i]] = true
	}
	return c
}

// Clean puts an underscore for each byte that is not in the set.
func (c *Charset) Clean(s string) string {
	b := []byte(s)
	for i := range b {
		if !c[b[i]] {
			b[i] = '_'
		}
	}
	return string(b)
}
