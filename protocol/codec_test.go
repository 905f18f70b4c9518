package protocol

import (
	"bytes"
	"testing"
)

func TestCompressAndDecompressAreInverse(t *testing.T) {
	src := bytes.Repeat([]byte("the bed stays when the water goes; "), 5000)
	for codec := CodecNone; codec.valid(); codec++ {
		t.Run(codec.String(), func(t *testing.T) {
			packed, err := Compress(codec, codec.DefaultLevel(), src)
			if err != nil {
				t.Fatal(err)
			}
			if codec != CodecNone && len(packed) > len(src)/4 {
				t.Errorf("%d bytes became %d", len(src), len(packed))
			}
			got, err := Decompress(codec, packed, len(src))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, src) {
				t.Errorf("got other bytes back (%d, want %d)", len(got), len(src))
			}
		})
	}
}
