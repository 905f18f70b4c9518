package protocol

import (
	"errors"
	"strings"
	"testing"
)

func TestCheckTopicName(t *testing.T) {
	for _, name := range []string{"a", "A.b_c-9", "__consumer_offsets", "...", strings.Repeat("x", 249)} {
		if err := CheckTopicName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"", ".", "..", "a b", "a/b", "ä", "a\x00", "a:b", strings.Repeat("x", 250)} {
		if err := CheckTopicName(name); !errors.Is(err, ErrTopicName) {
			t.Errorf("%q: %v, want ErrTopicName", name, err)
		}
	}
}
