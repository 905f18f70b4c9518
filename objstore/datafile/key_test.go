package datafile_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/objstore/datafile"
)

func TestKeyOfKnownID(t *testing.T) {
	if got, want := datafile.Key(fileID), "data/ef/2024112701/01936b2c-7a00-7bcd-8def-0123456789ab"; got != want {
		t.Errorf("Key = %q, want %q", got, want)
	}
}

func TestParseKeyUndoesKey(t *testing.T) {
	hashes := map[string]bool{}
	for range 2000 {
		before := time.Now().Truncate(time.Millisecond)
		id, err := uuid.NewV7()
		if err != nil {
			t.Fatal(err)
		}
		after := time.Now()
		key := datafile.Key(id)
		if got, err := datafile.ParseKey(key); err != nil || got != id {
			t.Fatalf("ParseKey(%q) = %v, %v; want %v", key, got, err, id)
		}
		made := datafile.IDTime(id)
		// An ID may run ahead of the clock by the sub-milliseconds that make IDs of one process ascend.
		if made.Before(before) || made.After(after.Add(time.Second)) {
			t.Fatalf("ID of %v to %v says %v", before, after, made)
		}
		prefixes := slices.Collect(datafile.Prefixes(made))
		if len(prefixes) != 256 || !slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(key, p) }) {
			t.Fatalf("key %q is under none of %d prefixes like %q", key, len(prefixes), prefixes[0])
		}
		hashes[key[:len("data/xx")]] = true
	}
	if len(hashes) < 200 {
		t.Errorf("2000 keys have only %d hashes of 256", len(hashes))
	}
}

func TestParseKeyRefuses(t *testing.T) {
	key := datafile.Key(fileID)
	id := fileID.String()
	for _, bad := range []string{
		"",
		"/",
		"data/",
		id,
		"/" + key,
		"prefix/" + key,
		key + "/",
		key + "0",
		strings.ToUpper(key),
		strings.Replace(key, id, "{"+id+"}", 1),
		strings.Replace(key, id, "urn:uuid:"+id, 1),
		strings.Replace(key, id, strings.ReplaceAll(id, "-", ""), 1),
		strings.Replace(key, id, topicA.String(), 1),
		strings.Replace(key, "2024112701", "2024112702", 1),
		strings.Replace(key, "data/", "data/0", 1),
		datafile.Key(topicA),
	} {
		if got, err := datafile.ParseKey(bad); err == nil {
			t.Errorf("ParseKey(%q) = %v, want an error", bad, got)
		}
	}
}

func TestPrefixesAreOfTheHourInUTC(t *testing.T) {
	prefixes := slices.Collect(datafile.Prefixes(time.Date(2026, 1, 1, 1, 59, 59, 0, time.FixedZone("", 2*60*60))))
	if prefixes[0] != "data/00/2025123123/" || prefixes[255] != "data/ff/2025123123/" || len(prefixes) != 256 {
		t.Errorf("%d prefixes from %q to %q", len(prefixes), prefixes[0], prefixes[255])
	}
	for range datafile.Prefixes(time.Now()) {
		break // the iterator must take no for an answer
	}
}

func TestNewIDIsOfTheTime(t *testing.T) {
	for _, ms := range []int64{0, 1, 1 << 33, 1_764_000_000_123, 1<<48 - 1} {
		a, err := datafile.NewID(time.UnixMilli(ms))
		if err != nil {
			t.Fatal(err)
		}
		b, err := datafile.NewID(time.UnixMilli(ms))
		if err != nil {
			t.Fatal(err)
		}
		if a.Version() != 7 || a.Variant() != uuid.RFC4122 || datafile.IDTime(a).UnixMilli() != ms || a == b {
			t.Errorf("ID of %d is %v, of %v, and the next one %v", ms, a, datafile.IDTime(a), b)
		}
	}
}
