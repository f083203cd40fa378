package postroad

import (
	"go/ast"
	"go/token"
	"strings"
	"testing"
)

// House numbers. They are guards against rot, not goals: when one is in the way
// of clearer code, change it here with the reason.
const (
	maxFileLines = 800
	maxFuncLines = 100
	maxParams    = 6
	maxFields    = 30
	// maxDeep is the share of functions, in thousandths, that may nest four
	// levels or more.
	maxDeep = 20
)

func TestSizes(t *testing.T) {
	t.Parallel()
	funcs, deep := 0, 0
	for _, src := range sources(t) {
		if src.lines > maxFileLines && !strings.Contains(src.path, "/rows_") {
			t.Errorf("%s has %d lines, the stop is %d", src.path, src.lines, maxFileLines)
		}
		ast.Inspect(src.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				funcs++
				if checkFunc(t, src, n) {
					deep++
				}
			case *ast.TypeSpec:
				if s, ok := n.Type.(*ast.StructType); ok && !strings.HasSuffix(n.Name.Name, "Settings") && s.Fields.NumFields() > maxFields {
					t.Errorf("%s: struct %s has %d fields, the stop is %d", src.path, n.Name.Name, s.Fields.NumFields(), maxFields)
				}
			}
			return true
		})
	}
	if deep*1000 > funcs*maxDeep {
		t.Errorf("%d of %d functions nest four levels or more", deep, funcs)
	}
}

// checkFunc checks one function and tells whether it nests deeply.
func checkFunc(t *testing.T, src source, f *ast.FuncDecl) bool {
	t.Helper()
	start, end := src.fset.Position(f.Pos()).Line, src.fset.Position(f.End()).Line
	if end-start+1 > maxFuncLines {
		t.Errorf("%s: %s has %d lines, the stop is %d", src.path, f.Name.Name, end-start+1, maxFuncLines)
	}
	if n := f.Type.Params.NumFields(); n > maxParams {
		t.Errorf("%s: %s has %d parameters, the stop is %d", src.path, f.Name.Name, n, maxParams)
	}
	if f.Name.Name == "init" && f.Recv == nil {
		t.Errorf("%s: init() is not used in this house", src.path)
	}
	return f.Body != nil && depth(f.Body) >= 4
}

// depth is the deepest nesting of control structures below a block.
func depth(n ast.Node) int {
	most := 0
	ast.Inspect(n, func(c ast.Node) bool {
		if c == n || c == nil {
			return true
		}
		switch c := c.(type) {
		case *ast.IfStmt:
			d := 1 + depth(c.Body)
			if _, chained := c.Else.(*ast.IfStmt); !chained && c.Else != nil {
				d = max(d, 1+depth(c.Else))
			} else if c.Else != nil {
				d = max(d, depth(c.Else))
			}
			most = max(most, d)
			return false
		case *ast.ForStmt:
			most = max(most, 1+depth(c.Body))
			return false
		case *ast.RangeStmt:
			most = max(most, 1+depth(c.Body))
			return false
		case *ast.SwitchStmt:
			most = max(most, 1+depth(c.Body))
			return false
		case *ast.TypeSwitchStmt:
			most = max(most, 1+depth(c.Body))
			return false
		case *ast.SelectStmt:
			most = max(most, 1+depth(c.Body))
			return false
		}
		return true
	})
	return most
}

// TestPackageState allows package variables only as sentinel errors, tables of
// rows and compiled patterns: what never changes after start.
func TestPackageState(t *testing.T) {
	t.Parallel()
	for _, src := range sources(t) {
		if src.test {
			continue
		}
		for _, d := range src.file.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.VAR {
				continue
			}
			for _, spec := range g.Specs {
				v := spec.(*ast.ValueSpec)
				for _, name := range v.Names {
					if name.Name != "_" && len(v.Values) == 0 && !embedded(g, v) {
						t.Errorf("%s: package variable %s has no value: it would be state", src.path, name.Name)
					}
				}
			}
		}
	}
}

// embedded tells whether a variable is filled by go:embed.
func embedded(g *ast.GenDecl, v *ast.ValueSpec) bool {
	for _, doc := range []*ast.CommentGroup{g.Doc, v.Doc} {
		if doc == nil {
			continue
		}
		for _, c := range doc.List {
			if strings.HasPrefix(c.Text, "//go:embed") {
				return true
			}
		}
	}
	return false
}

// TestGoroutineCensus wants a comment above every go statement that says what
// ends it.
func TestGoroutineCensus(t *testing.T) {
	t.Parallel()
	for _, src := range sources(t) {
		if src.test || beside(src.room) {
			continue
		}
		noted := map[int]bool{}
		for _, group := range src.file.Comments {
			if strings.Contains(group.Text(), "goroutine:") {
				noted[src.fset.Position(group.End()).Line] = true
			}
		}
		ast.Inspect(src.file, func(n ast.Node) bool {
			if g, ok := n.(*ast.GoStmt); ok {
				if line := src.fset.Position(g.Pos()).Line; !noted[line-1] && !noted[line] {
					t.Errorf("%s:%d: a go statement without a comment \"goroutine: ... ends when ...\"", src.path, line)
				}
			}
			return true
		})
	}
}
