package sqlite

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wadi-log/wadi/metadata"
)

func TestReadOnlyMakesNoDatabase(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "metadata.db")
	for _, missing := range []string{path, filepath.Join(folder, "below", "metadata.db")} {
		if _, err := OpenReadOnly(t.Context(), missing); !errors.Is(err, metadata.ErrUnavailable) || !strings.Contains(err.Error(), missing) {
			t.Errorf("no file: %v, want an ErrUnavailable with the path", err)
		}
	}
	if entries, err := os.ReadDir(folder); err != nil || len(entries) > 0 {
		t.Errorf("a file was made: %v, %v", entries, err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenReadOnly(t.Context(), path); !errors.Is(err, metadata.ErrSchema) {
		t.Errorf("an empty file: %v, want %v", err, metadata.ErrSchema)
	}
	if content, err := os.ReadFile(path); err != nil || len(content) > 0 {
		t.Errorf("the empty file has %d bytes, %v", len(content), err)
	}
}

func TestReadOnlyReadsAndCannotWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metadata.db")
	owner, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := owner.CreateTopic(t.Context(), metadata.NewTopic{Name: "orders", Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	id, err := owner.ClusterID(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Close(); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := OpenReadOnly(t.Context(), "sqlite:"+path)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.ClusterID(t.Context()); err != nil || got != id {
		t.Errorf("cluster ID %q, %v; want %q", got, err, id)
	}
	if topics, _, err := s.ListTopics(t.Context()); err != nil || len(topics) != 1 {
		t.Errorf("topics %v, %v", topics, err)
	}
	if _, err := s.CreateTopic(t.Context(), metadata.NewTopic{Name: "more", Partitions: 1}); err == nil {
		t.Error("a topic was created")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, before) {
		t.Errorf("the file changed, %v", err)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("beside the database: %v, %v", entries, err)
	}
}
