package objstore

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// MaxKeyBytes bounds a key; S3 allows 1,024 bytes including the prefix of
	// the --objects URL.
	MaxKeyBytes = 768
	// maxNameBytes is what file systems allow for the name of a file.
	maxNameBytes = 255
)

// CheckKey returns an error that wraps ErrKey unless key is legal in every
// store: at most MaxKeyBytes of UTF-8, names separated by single slashes, each
// 1 to 255 bytes of printable characters without backslash and not starting
// with a dot. (Dots are for the stores' own files, and for "..".) No key may
// be a folder of another one; a directory can't hold both.
func CheckKey(key string) error {
	bad := func(what string) error { return fmt.Errorf("%w %q: %s", ErrKey, key, what) }
	if len(key) > MaxKeyBytes {
		return fmt.Errorf("%w of %d bytes: at most %d are allowed", ErrKey, len(key), MaxKeyBytes)
	}
	if !utf8.ValidString(key) {
		return bad("not UTF-8")
	}
	for name := range strings.SplitSeq(key, "/") {
		switch {
		case name == "":
			return bad("empty name")
		case name[0] == '.':
			return bad("name starts with a dot")
		case len(name) > maxNameBytes:
			return bad("name is too long")
		}
	}
	for _, r := range key {
		if r == '\\' || !unicode.IsPrint(r) {
			return bad(fmt.Sprintf("character %U", r))
		}
	}
	return nil
}

// CheckRange returns an error that wraps ErrRange unless offset and length are
// ones that Get takes.
func CheckRange(offset, length int64) error {
	if offset < 0 || length < -1 {
		return fmt.Errorf("%w: offset %d, length %d", ErrRange, offset, length)
	}
	return nil
}
