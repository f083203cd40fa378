package postroad

import (
	"go/ast"
	"os"
	"strings"
	"testing"
)

// minDocumented is the share of exported identifiers with a comment, in percent.
const minDocumented = 95

func TestDocumented(t *testing.T) {
	t.Parallel()
	packages := map[string]bool{}
	total, documented := 0, 0
	note := func(src source, name string, docs ...*ast.CommentGroup) {
		total++
		for _, d := range docs {
			if d != nil {
				documented++
				return
			}
		}
		t.Logf("%s: %s has no comment", src.path, name)
	}
	for _, src := range sources(t) {
		if src.test {
			continue
		}
		packages[src.room] = packages[src.room] || src.file.Doc != nil
		for _, d := range src.file.Decls {
			documentDecl(src, d, note)
		}
	}
	for room, ok := range packages {
		if !ok {
			t.Errorf("package %s has no package comment", room)
		}
	}
	if documented*100 < total*minDocumented {
		t.Errorf("%d of %d exported identifiers are documented, less than %d %%", documented, total, minDocumented)
	}
}

func documentDecl(src source, d ast.Decl, note func(source, string, ...*ast.CommentGroup)) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Name.IsExported() && exportedReceiver(d) {
			note(src, d.Name.Name, d.Doc)
		}
	case *ast.GenDecl:
		var above *ast.CommentGroup // the comment of a group of constants is for all of them
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				if s.Name.IsExported() {
					note(src, s.Name.Name, s.Doc, d.Doc)
				}
			case *ast.ValueSpec:
				if s.Doc != nil {
					above = s.Doc
				}
				if s.Names[0].IsExported() {
					note(src, s.Names[0].Name, s.Doc, s.Comment, d.Doc, above)
				}
			}
		}
	}
}

// exportedReceiver tells whether a function is no method, or one of a type that
// other rooms can name.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil || len(d.Recv.List) == 0 {
		return true
	}
	typ := d.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	if generic, ok := typ.(*ast.IndexExpr); ok {
		typ = generic.X
	}
	id, ok := typ.(*ast.Ident)
	return ok && id.IsExported()
}

// TestArchitectureNamesEveryRoom keeps ARCHITECTURE.md equal to the tree.
func TestArchitectureNamesEveryRoom(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	for room := range floors {
		name := strings.TrimPrefix(room, "internal/")
		if !strings.Contains(string(text), "`"+name+"`") {
			t.Errorf("ARCHITECTURE.md does not name the room `%s`", name)
		}
	}
}
