package protocol

import (
	"errors"
	"fmt"
)

// ErrTopicName: a name that no topic may have: INVALID_TOPIC_EXCEPTION.
var ErrTopicName = errors.New("invalid topic name")

// maxTopicName is the length of the longest topic name in bytes, which leaves
// Kafka's folders room for "-<partition>".
const maxTopicName = 249

// CheckTopicName checks a name by Kafka's rules: 1 to 249 characters of
// a-z A-Z 0-9 . _ and -, and neither "." nor "..". Errors: ErrTopicName.
func CheckTopicName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: it is empty", ErrTopicName)
	case name == "." || name == "..":
		return fmt.Errorf("%w: it can't be %q", ErrTopicName, name)
	case len(name) > maxTopicName:
		return fmt.Errorf("%w: it has %d characters, at most %d are allowed", ErrTopicName, len(name), maxTopicName)
	}
	for _, c := range []byte(name) {
		legal := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-'
		if !legal {
			return fmt.Errorf("%w: %q has characters other than letters, digits, '.', '_' and '-'", ErrTopicName, name)
		}
	}
	return nil
}
