package postconf

// Unescape reads a value with the escapes of the C language, such as
// smtpd_expansion_filter.
func Unescape(s string) []byte {
	const letters, values = "abfnrtv", "\a\b\f\n\r\t\v"
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			out = append(out, s[i])
			continue
		}
		i++
		n, digits := 0, 0
		for digits < 3 && i+digits < len(s) && s[i+digits] >= '0' && s[i+digits] <= '7' {
			n = n<<3 | int(s[i+digits]-'0')
			digits++
		}
		if digits > 0 {
			out = append(out, byte(n))
			i += digits - 1
			continue
		}
		c := s[i]
		for j := range len(letters) {
			if letters[j] == c {
				c = values[j]
				break
			}
		}
		out = append(out, c)
	}
	return out
}
