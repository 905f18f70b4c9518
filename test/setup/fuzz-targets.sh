#!/bin/sh
# Prints "import-path FuzzName" for each fuzz test of the module: what make fuzz runs.
set -eu
# -e: one package that does not build must not hide the fuzz tests of the others.
files=$(go list -e -f '{{range .TestGoFiles}}{{$.ImportPath}} {{$.Dir}}/{{.}}
{{end}}{{range .XTestGoFiles}}{{$.ImportPath}} {{$.Dir}}/{{.}}
{{end}}' ./...)
echo "$files" | while read -r package file; do
	[ -z "$file" ] || sed -n "s|^func \\(Fuzz[A-Za-z0-9_]*\\)(.*|$package \\1|p" "$file"
done
