package testkit

import (
	"reflect"
	"strings"
	"testing"
)

func TestParseArchive(t *testing.T) {
	t.Parallel()
	a, err := ParseArchive("a story\n\n-- main.cf --\nx = 1\n-- map hash /etc/t --\n-- not a heading\nkey value\n-- empty --\n")
	if err != nil {
		t.Fatal(err)
	}
	if a.Comment != "a story\n\n" {
		t.Errorf("comment %q", a.Comment)
	}
	want := []Section{
		{Name: "main.cf", Args: []string{}, Text: "x = 1\n", Line: 3},
		{Name: "map", Args: []string{"hash", "/etc/t"}, Text: "-- not a heading\nkey value\n", Line: 5},
		{Name: "empty", Args: []string{}, Text: "", Line: 8},
	}
	if !reflect.DeepEqual(a.Sections, want) {
		t.Errorf("sections %+v", a.Sections)
	}
	if s, ok := a.Find("map"); !ok || s.Args[1] != "/etc/t" {
		t.Errorf("Find: %+v %v", s, ok)
	}
	if _, ok := a.Find("nothing"); ok {
		t.Error("found what is not there")
	}
	if n := len(a.All("empty")); n != 1 {
		t.Errorf("All: %d", n)
	}
	if _, err := ParseArchive("--  --\n"); err == nil {
		t.Error("a section without a name was taken")
	}
}

func FuzzParseArchive(f *testing.F) {
	f.Add("story\n-- a --\ntext\n-- b c --\n")
	f.Add("-- --\n")
	f.Fuzz(func(t *testing.T, text string) {
		a, err := ParseArchive(text)
		if err != nil {
			return
		}
		n := len(a.Comment)
		for _, s := range a.Sections {
			n += len(s.Text)
			if s.Name == "" || strings.ContainsAny(s.Name, " \t\n") {
				t.Errorf("name %q", s.Name)
			}
		}
		if n > len(text) {
			t.Errorf("%d bytes from %d", n, len(text))
		}
	})
}
