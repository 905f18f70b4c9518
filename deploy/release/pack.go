package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"os"
	"time"
)

// file is one that goes into an archive.
type file struct {
	name string // in the archive
	path string // of its content
	mode int64
}

// pack returns a .tar.gz with the files in one folder, all of the same time and of root's, so
// that the bytes depend on nothing but names, modes and content.
func pack(folder string, modified time.Time, files []file) ([]byte, error) {
	var packed bytes.Buffer
	zipped, err := gzip.NewWriterLevel(&packed, gzip.BestCompression) // its header has no name and no time
	if err != nil {
		return nil, err
	}
	archive := tar.NewWriter(zipped)
	if err := archive.WriteHeader(&tar.Header{
		Typeflag: tar.TypeDir, Name: folder + "/", Mode: 0o755, ModTime: modified, Format: tar.FormatUSTAR,
	}); err != nil {
		return nil, err
	}
	for _, f := range files {
		if err := add(archive, folder, modified, f); err != nil {
			return nil, fmt.Errorf("packing %s: %w", f.name, err)
		}
	}
	if err := errors.Join(archive.Close(), zipped.Close()); err != nil {
		return nil, err
	}
	return packed.Bytes(), nil
}

func add(archive *tar.Writer, folder string, modified time.Time, f file) error {
	content, err := os.ReadFile(f.path)
	if err != nil {
		return err
	}
	if err := archive.WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg, Name: folder + "/" + f.name, Size: int64(len(content)), Mode: f.mode,
		ModTime: modified, Format: tar.FormatUSTAR,
	}); err != nil {
		return err
	}
	_, err = archive.Write(content)
	return err
}
