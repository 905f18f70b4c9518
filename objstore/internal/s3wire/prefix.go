package s3wire

import (
	"fmt"

	"github.com/wadi-log/wadi/objstore"
)

// maxPrefixBytes leaves room for a key of objstore.MaxKeyBytes in the 1,024
// bytes that S3 allows.
const maxPrefixBytes = 255

// CheckPrefix returns an error unless prefix can go before every key; empty is fine.
func CheckPrefix(prefix string) error {
	if prefix == "" {
		return nil
	}
	if len(prefix) > maxPrefixBytes || objstore.CheckKey(prefix) != nil {
		return fmt.Errorf("%q is no usable prefix; use names of printable characters between single slashes, %d bytes in all", prefix, maxPrefixBytes)
	}
	return nil
}
