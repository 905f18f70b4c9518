package guard

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/wadi-log/wadi"

// root is the module's folder, seen from this package's.
const root = "../.."

// source is one Go file of the module.
type source struct {
	path    string // from the module's root, with slashes
	folder  string // its package's folder, likewise; "." for the root
	test    bool
	lines   int
	imports []string // import paths
	syntax  *ast.File
}

// tree reads all Go files of the module.
func tree(t *testing.T) []source {
	t.Helper()
	var files []source
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() {
			// What the go command ignores too, and what an agent stores.
			if path != root && (strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata" || name == "wadi-data") {
				return fs.SkipDir
			}
			return nil
		}
		if filepath.Ext(name) != ".go" {
			return nil
		}
		file, err := read(path)
		files = append(files, file)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatal("found no Go files: the guards would guard nothing")
	}
	return files
}

func read(path string) (source, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return source{}, err
	}
	syntax, err := parser.ParseFile(token.NewFileSet(), path, content, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return source{}, err
	}
	relative, err := filepath.Rel(root, path)
	if err != nil {
		return source{}, err
	}
	relative = filepath.ToSlash(relative)
	file := source{
		path:   relative,
		folder: filepath.ToSlash(filepath.Dir(relative)),
		test:   strings.HasSuffix(path, "_test.go"),
		lines:  bytes.Count(content, []byte("\n")),
		syntax: syntax,
	}
	for _, spec := range syntax.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return source{}, err
		}
		file.imports = append(file.imports, imported)
	}
	return file, nil
}

// calls tells whether the file calls pkg.name, by the package's usual name.
func (s source) calls(pkg, name string) bool {
	found := false
	ast.Inspect(s.syntax, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		selector, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if of, ok := selector.X.(*ast.Ident); ok && of.Name == pkg && selector.Sel.Name == name {
			found = true
		}
		return true
	})
	return found
}
