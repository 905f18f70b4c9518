// Package escape reads backslash escapes in flags, where a shell makes it
// hard to type a tab or a NUL: \n, \t, \r, \0, \\ and \xHH.
package escape

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Unescape replaces the escapes of text.
func Unescape(text string) (string, error) {
	var b strings.Builder
	for text != "" {
		before, after, found := strings.Cut(text, `\`)
		b.WriteString(before)
		if !found {
			break
		}
		char, rest, err := one(after)
		if err != nil {
			return "", err
		}
		b.WriteByte(char)
		text = rest
	}
	return b.String(), nil
}

// one reads the escape whose backslash was cut off.
func one(text string) (char byte, rest string, err error) {
	if text == "" {
		return 0, "", errors.New(`\ at the end; write \\ for a backslash`)
	}
	switch text[0] {
	case 'n':
		return '\n', text[1:], nil
	case 't':
		return '\t', text[1:], nil
	case 'r':
		return '\r', text[1:], nil
	case '0':
		return 0, text[1:], nil
	case '\\':
		return '\\', text[1:], nil
	case 'x':
		if len(text) >= 3 {
			if n, err := strconv.ParseUint(text[1:3], 16, 8); err == nil {
				return byte(n), text[3:], nil
			}
		}
		return 0, "", errors.New(`\x wants two hex digits, as in \x1f`)
	}
	return 0, "", fmt.Errorf(`\%c is no escape; there are \n, \t, \r, \0, \\ and \xHH`, []rune(text)[0])
}
