package postconf

import (
	"strings"
	"testing"
	"time"
)

// lookupIn returns a lookup function for a map.
func lookupIn(m map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		v, ok := m[name]
		return v, ok
	}
}

// TestExpand checks results that postconf -x of Postfix gives as well.
func TestExpand(t *testing.T) {
	lookup := lookupIn(map[string]string{"a": "A", "e": "", "n": "$a", "i": "$e", "x_1": "X", "d": "$$a", "u": "bücher.example"})
	for _, test := range []struct{ in, want string }{
		{"", ""},
		{"plain", "plain"},
		{"$a ${a} $(a)", "A A A"},
		{"$a.b $x_1-y", "A.b X-y"},
		{"$$a $$$a", "$a $A"},
		{"$d", "$a"},
		{"$n", "A"},
		{"$nosuch.", "."},
		{"${a?yes}${e?no}${nosuch?no}", "yes"},
		{"${a:no}${e:yes}${nosuch:yes}", "yesyes"},
		{"${i?the text of i is not empty}", "the text of i is not empty"},
		{"${a?{1}:{2}} ${e?{1}:{2}} ${a?{1}:2} ${e?{1}:2}", "1 2 1 2"},
		{"${ a ? { 1 } : { 2 } }", " 1 "},
		{"${a?yes:no}", "yes:no"},
		{"${e:{x}}${a?{x}}", "xx"},
		{"${a?${e?{1}:{$n}}}", "A"},
		{"${a?{x{y}z}}", "x{y}z"},
		{"$(a?{y})", "y"},
		{"${{a} == {a}}", "true"},
		{"${{a} == {b}}", ""},
		{"${{$a} == {A}?{1}:{2}}", "1"},
		{"${{ a } == {a}?{1}:{2}}", "2"},
		{"${{10} > {9}?{1}:{2}} ${{10x} > {9x}?{1}:{2}}", "1 2"},
		{"${{1} != {2}}${{1} <= {1}}${{1} >= {2}}${{1} < {1}}", "truetrue"},
		{"${{3.9} <level {3.10}?{1}:{2}} ${{3.6} ==level {3.6.0}?{1}:{2}} ${{3} !=level {3.0.1}?{1}:{2}}", "1 1 1"},
		{"${{${a?{x}}} == {x}?{1}:{2}}", "1"},
		{"${domain_to_ascii{$u}} ${domain_to_ascii{ example.com }}", "xn--bcher-kva.example example.com"},
	} {
		got, err := Expand(test.in, lookup)
		if got != test.want || err != nil {
			t.Errorf("%s: got %q, %v; want %q", test.in, got, err, test.want)
		}
	}
}

// TestExpandOnce checks that what a stranger wrote is not expanded.
func TestExpandOnce(t *testing.T) {
	lookup := lookupIn(map[string]string{"sender": "$secret ${secret}", "secret": "x"})
	got, err := ExpandOnce("<$sender>${sender?!}", lookup)
	if want := "<$secret ${secret}>!"; got != want || err != nil {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}

// TestReferences checks that both branches are visited.
func TestReferences(t *testing.T) {
	var names []string
	err := References("$a ${b?{$c}:{$d}} ${{$e} == {${f}}?$g} ${domain_to_ascii{$h}} $$i", func(name string) { names = append(names, name) })
	if got := strings.Join(names, " "); got != "a b c d e f g h" || err != nil {
		t.Errorf("got %s, %v", got, err)
	}
}

// TestExpandBounds checks that values made to run away are stopped soon.
func TestExpandBounds(t *testing.T) {
	double := map[string]string{"z": "text", "y": ""}
	for c := byte('a'); c < 'z'; c++ {
		double[string(c)+"0"] = "$" + string(c+1) + "0$" + string(c+1) + "0"
		double[string(c)+"1"] = "${" + string(c+1) + "1}${" + string(c+1) + "1}"
		double[string(c)+"2"] = "${{$" + string(c+1) + "2} == {$" + string(c+1) + "2}?{$" + string(c+1) + "2}}"
		double[string(c)+"3"] = "${y?" + strings.Repeat("x", 100_000) + "}$" + string(c+1) + "3$" + string(c+1) + "3"
	}
	double["z1"] = "some text"
	double["z3"] = "$y"
	double["self"] = "$self"
	double["operand"] = "${{$operand} == {1}}"
	for _, in := range []string{"$a0", "$a1", "$a2", "$a3", "$self", "$operand", strings.Repeat("${y?{", 10_000) + strings.Repeat("}}", 10_000)} {
		start := time.Now()
		_, err := Expand(in, lookupIn(double))
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("%.20s: took %v", in, took)
		}
		if err == nil && in[0] == '$' && len(in) < 20 {
			t.Errorf("%s: no error", in)
		}
	}
}

// TestLevel checks levels and their order.
func TestLevel(t *testing.T) {
	order := []string{"0", "0.0.1", "1", "2", "3.6", "3.9", "3.10", "3.11", "3.11.6", "99"}
	for i := 1; i < len(order); i++ {
		a, err1 := ParseLevel(order[i-1])
		b, err2 := ParseLevel(order[i])
		if err1 != nil || err2 != nil || a.Compare(b) != -1 || b.Compare(a) != 1 || b.Compare(b) != 0 {
			t.Errorf("%s, %s: %v %v", order[i-1], order[i], err1, err2)
		}
		if b.String() != order[i] {
			t.Errorf("%s became %s", order[i], b)
		}
	}
	for _, bad := range []string{"", "x", "3.", ".3", "3.6.1.1", "-1", "+1", "3.1024", "3. 6"} {
		if l, err := ParseLevel(bad); err == nil {
			t.Errorf("%q was read as %v", bad, l)
		}
	}
}
