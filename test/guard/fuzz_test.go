package guard

import (
	"go/ast"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestMakeFuzzFindsEveryFuzzTest compares what make fuzz would run with the fuzz
// tests that stand in the sources: one that never runs finds nothing.
func TestMakeFuzzFindsEveryFuzzTest(t *testing.T) {
	var want []string
	for _, file := range tree(t) {
		if !file.test {
			continue
		}
		for _, declaration := range file.syntax.Decls {
			if f, ok := declaration.(*ast.FuncDecl); ok && isFuzzTest(f) {
				want = append(want, module+"/"+file.folder+" "+f.Name.Name)
			}
		}
	}
	slices.Sort(want)

	cmd := exec.CommandContext(t.Context(), "test/setup/fuzz-targets.sh")
	cmd.Dir = root
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	got := slices.DeleteFunc(strings.Split(string(out), "\n"), func(line string) bool { return line == "" })
	slices.Sort(got)

	for _, target := range want {
		if !slices.Contains(got, target) {
			t.Errorf("make fuzz does not run %s: write it as func FuzzName(f *testing.F) in one line, in a file that go list sees", target)
		}
	}
	for _, target := range got {
		if !slices.Contains(want, target) {
			t.Errorf("make fuzz would run %s, which is no fuzz test", target)
		}
	}
}

// isFuzzTest tells whether go test takes f for a fuzz test.
func isFuzzTest(f *ast.FuncDecl) bool {
	if !strings.HasPrefix(f.Name.Name, "Fuzz") || f.Recv != nil || f.Type.Params.NumFields() != 1 {
		return false
	}
	pointer, ok := f.Type.Params.List[0].Type.(*ast.StarExpr)
	if !ok {
		return false
	}
	selector, ok := pointer.X.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	pkg, ok := selector.X.(*ast.Ident)
	return ok && pkg.Name == "testing" && selector.Sel.Name == "F"
}
