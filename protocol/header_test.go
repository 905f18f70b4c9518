package protocol

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParseRequestHeader(t *testing.T) {
	for _, c := range []struct {
		name  string
		frame string
		want  RequestHeader
		body  string
		err   error
	}{
		{
			"version 1", "0003 0008 00000007 0003 616263 beef",
			RequestHeader{3, 8, 7, "abc"}, "beef", nil,
		},
		{
			"version 1 with null client ID", "0003 0000 00000007 ffff beef",
			RequestHeader{3, 0, 7, ""}, "beef", nil,
		},
		{
			"version 2 keeps the client ID's old form", "0003 0009 ffffffff 0003 616263 00 beef",
			RequestHeader{3, 9, -1, "abc"}, "beef", nil,
		},
		{
			"version 2 with tags", "0003 000d 00000007 ffff 02 00 01 aa 05 00 beef",
			RequestHeader{3, 13, 7, ""}, "beef", nil,
		},
		{
			"ApiVersions 3 is flexible", "0012 0003 00000007 0003 616263 00 beef",
			RequestHeader{18, 3, 7, "abc"}, "beef", nil,
		},
		{
			"ApiVersions of a version to come", "0012 0064 00000007 7fff",
			RequestHeader{Key: 18, Version: 100, CorrelationID: 7}, "", nil,
		},
		{
			"a key that is known but not served", "000b 0000 00000007 0003 616263 beef",
			RequestHeader{11, 0, 7, "abc"}, "beef", nil,
		},
		{
			"unknown key", "7fff 0000 00000007 7fff",
			RequestHeader{Key: 0x7fff, CorrelationID: 7}, "", nil,
		},
		{
			"negative key", "ffff 0000 00000007",
			RequestHeader{Key: -1, CorrelationID: 7}, "", nil,
		},
		{
			"negative version", "0003 ffff 00000007 7fff",
			RequestHeader{Key: 3, Version: -1, CorrelationID: 7}, "", nil,
		},
		{"empty", "", RequestHeader{}, "", ErrMalformed},
		{"short", "0003 0000 000000", RequestHeader{}, "", ErrMalformed},
		{
			"no client ID", "0003 0000 00000007",
			RequestHeader{Key: 3, CorrelationID: 7}, "", ErrMalformed,
		},
		{
			"client ID longer than the frame", "0003 0000 00000007 0004 616263",
			RequestHeader{Key: 3, CorrelationID: 7}, "", ErrMalformed,
		},
		{
			"client ID of negative length", "0003 0000 00000007 8000 616263",
			RequestHeader{Key: 3, CorrelationID: 7}, "", ErrMalformed,
		},
		{
			"more tags than bytes", "0003 0009 00000007 ffff ffffffff0f",
			RequestHeader{Key: 3, Version: 9, CorrelationID: 7}, "", ErrMalformed,
		},
		{
			"tag longer than the frame", "0003 0009 00000007 ffff 01 00 ffffffff0f 00",
			RequestHeader{Key: 3, Version: 9, CorrelationID: 7}, "", ErrMalformed,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, body, err := ParseRequestHeader(unhex(t, c.frame))
			if h != c.want || !errors.Is(err, c.err) {
				t.Errorf("got %+v, %v; want %+v, %v", h, err, c.want, c.err)
			}
			if !bytes.Equal(body, unhex(t, c.body)) {
				t.Errorf("body %x, want %s", body, c.body)
			}
		})
	}
}

// franz-go writes the headers here, so they are not only read as we think they are.
func TestParseRequestHeaderReadsWhatAClientWrites(t *testing.T) {
	formatter := kmsg.NewRequestFormatter(kmsg.FormatterClientID("a client"))
	for _, api := range table {
		for version := int16(0); version <= api.Max; version++ {
			req := kmsg.RequestForKey(api.Key)
			req.SetVersion(version)
			frame := formatter.AppendRequest(nil, req, 42)
			h, body, err := ParseRequestHeader(frame[4:])
			if err != nil {
				t.Fatalf("%s %d: %v", api.Name, version, err)
			}
			if want := (RequestHeader{api.Key, version, 42, "a client"}); h != want {
				t.Errorf("%s %d: got %+v", api.Name, version, h)
			}
			if want := req.AppendTo(nil); !bytes.Equal(body, want) {
				t.Errorf("%s %d: body %x, want %x", api.Name, version, body, want)
			}
		}
	}
}

func TestAppendResponse(t *testing.T) {
	metadata := func(version int16) kmsg.Response {
		resp := kmsg.NewPtrInitProducerIDResponse()
		resp.SetVersion(version)
		return resp
	}
	versions := kmsg.NewPtrApiVersionsResponse()
	versions.SetVersion(3)
	unsupported := kmsg.NewPtrApiVersionsResponse()
	unsupported.ErrorCode = 35
	unsupported.ApiKeys = []kmsg.ApiVersionsResponseApiKey{{ApiKey: 18, MinVersion: 0, MaxVersion: 4}}

	for _, c := range []struct {
		name string
		h    RequestHeader
		resp kmsg.Response
		want string
	}{
		{
			"header version 0", RequestHeader{Key: 22, Version: 1, CorrelationID: 5}, metadata(1),
			"00000014 00000005 00000000 0000 ffffffffffffffff 0000",
		},
		{
			"header version 1 has a tag section", RequestHeader{Key: 22, Version: 2, CorrelationID: 5}, metadata(2),
			"00000016 00000005 00 00000000 0000 ffffffffffffffff 0000 00",
		},
		{
			"ApiVersions keeps header version 0", RequestHeader{Key: 18, Version: 3, CorrelationID: 5}, versions,
			"0000000c 00000005 0000 01 00000000 00",
		},
		{
			"ApiVersions of an unknown version is answered in version 0",
			RequestHeader{Key: 18, Version: 100, CorrelationID: 5}, unsupported,
			"00000010 00000005 0023 00000001 0012 0000 0004",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := []byte("before")
			got := AppendResponse(before, c.h, c.resp)
			if want := append([]byte("before"), unhex(t, c.want)...); !bytes.Equal(got, want) {
				t.Errorf("got  %x\nwant %x", got, want)
			}
		})
	}
}
