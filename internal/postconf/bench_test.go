package postconf

import (
	"os"
	"testing"
)

// BenchmarkParse measures reading a configuration with all its warnings.
func BenchmarkParse(b *testing.B) {
	main, err1 := os.ReadFile("testdata/configs/usernames/main.cf")
	master, err2 := os.ReadFile("testdata/configs/services/master.cf")
	if err1 != nil || err2 != nil {
		b.Fatal(err1, err2)
	}
	b.ReportAllocs()
	for b.Loop() {
		Parse("/etc/postfix", main, master, testOptions())
	}
}

// BenchmarkValue measures one look-up with an expression.
func BenchmarkValue(b *testing.B) {
	v := parseMain(b, "compatibility_level = 3.6\n")
	b.ReportAllocs()
	for b.Loop() {
		if s, err := v.Value("smtpd_timeout"); s != "300s" || err != nil {
			b.Fatal(s, err)
		}
	}
}
