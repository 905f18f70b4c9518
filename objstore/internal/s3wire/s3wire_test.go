package s3wire

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/wadi-log/wadi/objstore"
)

func TestByteRange(t *testing.T) {
	for _, test := range []struct {
		offset, length int64
		want           string
	}{
		{0, -1, ""},
		{0, 0, "bytes=0-0"},
		{0, 10, "bytes=0-9"},
		{7, -1, "bytes=7-"},
		{7, 0, "bytes=7-7"},
		{7, 1, "bytes=7-7"},
		{7, 1<<63 - 1, "bytes=7-"},
	} {
		if got := ByteRange(test.offset, test.length); got != test.want {
			t.Errorf("ByteRange(%d, %d) = %q, want %q", test.offset, test.length, got, test.want)
		}
	}
}

func TestReadBody(t *testing.T) {
	for _, test := range []struct {
		name           string
		body           string
		size           int64
		contentRange   string
		offset, length int64
		want           string
		says           string // of the error, if one is wanted
	}{
		{"whole", "12345", 5, "", 0, -1, "12345", ""},
		{"whole of unknown size", "12345", -1, "", 0, -1, "12345", ""},
		{"empty", "", 0, "", 0, -1, "", ""},
		{"range", "234", 3, "bytes 1-3/5", 1, 3, "234", ""},
		{"range of unknown size", "234", -1, "bytes 1-3/5", 1, 3, "234", ""},
		{"range that the object ends", "45", 2, "bytes 3-4/5", 3, 100, "45", ""},
		{"no bytes asked", "2", 1, "bytes 1-1/5", 1, 0, "", ""},
		{"tail", "45", 2, "bytes 3-4/5", 3, -1, "45", ""},
		{"whole instead of a range", "12345", 5, "", 1, 3, "", "does not serve ranges"},
		{"another range", "123", 3, "bytes 0-2/5", 1, 3, "", "asked for bytes from 1"},
		{"range backwards", "123", -1, "bytes 1-0/5", 1, 3, "", "asked for bytes from 1"},
		{"more than asked", "2345", 4, "bytes 1-4/5", 1, 3, "", "asked for at most 3 bytes, got 4"},
		{"no end", "1", 1 << 62, "", 0, -1, "", "asked for at most"},
		{"no end by its range", "1", -1, "bytes 1-9223372036854775807/5", 1, -1, "", "asked for at most"},
		{"short", "123", 5, "", 0, -1, "", "after 3 of 5 bytes"},
		{"shorter", "", 5, "", 0, -1, "", "after 0 of 5 bytes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, r := range []io.Reader{strings.NewReader(test.body), iotest.OneByteReader(strings.NewReader(test.body))} {
				got, err := ReadBody(r, test.size, test.contentRange, test.offset, test.length)
				if test.says != "" {
					if err == nil || !strings.Contains(err.Error(), test.says) {
						t.Errorf("%q, error %v; want an error that says %q", got, err, test.says)
					}
				} else if err != nil || string(got) != test.want {
					t.Errorf("%q, error %v; want %q", got, err, test.want)
				}
			}
		})
	}
	broken := io.MultiReader(strings.NewReader("12"), iotest.ErrReader(errors.New("reset")))
	if _, err := ReadBody(broken, -1, "", 0, -1); err == nil || !strings.Contains(err.Error(), "reset") {
		t.Errorf("body of unknown size that breaks: %v", err)
	}
}

func FuzzReadBody(f *testing.F) {
	f.Add([]byte("12345"), int64(5), "", int64(0), int64(-1))
	f.Add([]byte("234"), int64(3), "bytes 1-3/5", int64(1), int64(3))
	f.Add([]byte("234"), int64(-1), "bytes 1-9223372036854775807/*", int64(1), int64(-1))
	f.Add([]byte(""), int64(-9), "bytes -1--2", int64(1), int64(0))
	f.Fuzz(func(t *testing.T, body []byte, size int64, contentRange string, offset, length int64) {
		if objstore.CheckRange(offset, length) != nil || size > 1<<20 {
			return
		}
		got, err := ReadBody(bytes.NewReader(body), size, contentRange, offset, length)
		if err == nil && (length >= 0 && int64(len(got)) > length || !bytes.HasPrefix(body, got)) {
			t.Errorf("%d bytes of %q for length %d", len(got), body, length)
		}
	})
}

func TestBodyReadsSeeksAndDetaches(t *testing.T) {
	b := NewBody([]byte("hello"))
	if err := iotest.TestReader(b, []byte("hello")); err != nil {
		t.Error(err)
	}
	if _, err := b.Seek(-1, io.SeekStart); err == nil {
		t.Error("Seek before the start succeeds")
	}
	if pos, err := b.Seek(-2, io.SeekEnd); pos != 3 || err != nil {
		t.Errorf("Seek(-2, SeekEnd) = %d, %v; want 3", pos, err)
	}
	if n := b.Len(); n != 2 {
		t.Errorf("Len = %d, want 2", n)
	}
	b.Detach()
	if n, err := b.Read(make([]byte, 5)); n != 0 || err == nil || errors.Is(err, io.EOF) {
		t.Errorf("Read after Detach = %d, %v; want an error", n, err)
	}
	if _, err := b.Seek(0, io.SeekStart); err == nil {
		t.Error("Seek after Detach succeeds")
	}
}

func TestDeadline(t *testing.T) {
	store := Store{Endpoint: "http://store"}
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		ctx, deadline := NewDeadline(t.Context(), 8<<20)
		defer deadline.Stop()
		<-ctx.Done()
		if took, want := time.Since(start), CallTime+2*time.Second; took != want {
			t.Errorf("ended after %v, want %v", took, want)
		}
		err := store.Explain(ctx, Failure{Verb: "get", Key: "k", Err: ctx.Err()})
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want %v", err, context.DeadlineExceeded)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		ctx, deadline := NewDeadline(t.Context(), 0)
		defer deadline.Stop()
		for range 3 { // pages, and a slow visitor
			time.Sleep(CallTime - time.Second)
			deadline.Pause()
			time.Sleep(time.Hour)
			deadline.Restart()
		}
		if err := ctx.Err(); err != nil {
			t.Errorf("ended while it was restarted: %v", err)
		}
		time.Sleep(CallTime)
		<-ctx.Done()
	})
	synctest.Test(t, func(t *testing.T) {
		parent, cancel := context.WithCancel(t.Context())
		ctx, deadline := NewDeadline(parent, 0)
		defer deadline.Stop()
		cancel()
		<-ctx.Done()
		err := store.Explain(ctx, Failure{Verb: "get", Key: "k", Err: ctx.Err()})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want the caller's %v", err, context.Canceled)
		}
	})
}

func TestCRC32C(t *testing.T) {
	// The check value of the CRC catalogue for "123456789": 0xE3069283.
	if got := CRC32C([]byte("123456789")); got != "4waSgw==" {
		t.Errorf("CRC32C = %q, want 4waSgw==", got)
	}
}
