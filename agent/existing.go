package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/wadi-log/wadi/objstore/dir"
)

// CheckStoresExist is for tools that look at what is there: an agent would make embedded
// stores that are not. Whether others exist they find out when they open them.
func (c Config) CheckStoresExist() error {
	if err := c.CheckMetadataExists(); err != nil {
		return err
	}
	switch url := c.ObjectsURL(); scheme(url) {
	case "file":
		path, err := dir.ParseURL(url)
		if err != nil {
			return err
		}
		return exists(path, "--objects or --data-dir")
	case "mem":
		return errors.New("--objects: a mem: store lives and dies with its agent, and nobody else sees it")
	}
	return nil
}

// CheckMetadataExists is CheckStoresExist for tools that look at the metadata store alone.
func (c Config) CheckMetadataExists() error {
	url := c.MetadataURL()
	if scheme(url) != "sqlite" {
		return nil
	}
	return exists(strings.TrimPrefix(strings.TrimPrefix(url, "sqlite:"), "//"), "--metadata or --data-dir")
}

func exists(path, setting string) error {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: there is no store at %s", setting, path)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", setting, err)
	}
	return nil
}
