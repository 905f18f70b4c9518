package metadata

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"math"
	mathrand "math/rand/v2"

	"github.com/google/uuid"
)

// NewTopicID makes a random topic ID. Like Kafka's, its base64 form never
// starts with '-', which command lines would take for a flag.
func NewTopicID() uuid.UUID {
	for {
		var id uuid.UUID
		rand.Read(id[:]) // never fails: it ends the process instead
		id[6] = id[6]&0x0f | 0x40
		id[8] = id[8]&0x3f | 0x80
		if base64ID(id)[0] != '-' {
			return id
		}
	}
}

// NewClusterID makes a random cluster ID of 22 characters of URL-safe base64.
func NewClusterID() string { return base64ID(NewTopicID()) }

// NewClusterSecret makes a secret of 32 random bytes.
func NewClusterSecret() []byte {
	secret := make([]byte, 32)
	rand.Read(secret) // never fails: it ends the process instead
	return secret
}

// NewMark makes the mark of a change: no other change has it, and it is not 0, which those from before there were marks have.
func NewMark() int64 { return 1 + mathrand.Int64N(math.MaxInt64) }

func base64ID(id uuid.UUID) string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// GroupKey is what the stores key a group's rows by: the first half of the
// SHA-256 of its ID, which may itself be longer than an index takes. The empty ID
// has the key that sorts first.
func GroupKey(id string) (key uuid.UUID) {
	if id != "" {
		sum := sha256.Sum256([]byte(id))
		copy(key[:], sum[:])
	}
	return key
}
