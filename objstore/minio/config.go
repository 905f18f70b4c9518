package minio

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/internal/s3wire"
)

// Config says which bucket to use and how to reach it.
type Config struct {
	// Endpoint is the store's host:port, or host alone for the standard port.
	Endpoint string
	// TLS speaks HTTPS; the default is plain HTTP.
	TLS    bool
	Bucket string
	// Prefix goes before every key, without slashes at its ends; empty is none.
	Prefix string
	// Region of the bucket; empty asks the store once.
	Region string
	// AccessKey and SecretKey are the credentials. Never logged.
	AccessKey string `json:"-"`
	SecretKey string `json:"-"`
}

// String returns the config as a --objects URL, without the keys.
func (c Config) String() string {
	query := url.Values{}
	if c.TLS {
		query.Set("tls", "true")
	}
	if c.Region != "" {
		query.Set("region", c.Region)
	}
	u := url.URL{Scheme: "minio", Host: c.Endpoint, Path: "/" + c.Bucket, RawQuery: query.Encode()}
	if c.Prefix != "" {
		u.Path += "/" + c.Prefix
	}
	return u.String()
}

// ParseURL reads a --objects URL of the form
//
//	minio://host:port/bucket/prefix?tls=&region=
//
// in which the port, the prefix and the options may be left out. Keys are not
// part of it, as command lines are readable by everyone on a machine. Errors:
// objstore.ErrConfig.
func ParseURL(raw string) (Config, error) {
	bad := func(format string, args ...any) (Config, error) {
		return Config{}, fmt.Errorf("%w: --objects: %s", objstore.ErrConfig, fmt.Sprintf(format, args...))
	}
	u, err := url.Parse(raw)
	if err != nil {
		// url.Error repeats the URL, which may hold a secret.
		return bad("not a valid URL; want minio://host:port/bucket/prefix?tls=")
	}
	switch {
	case u.Scheme != "minio":
		return bad("want a URL that starts with minio://")
	case u.User != nil:
		return bad("no keys in the URL, please: set WADI_OBJECTS_ACCESS_KEY and WADI_OBJECTS_SECRET_KEY")
	case u.Host == "":
		return bad("names no host; want minio://host:port/bucket/prefix?tls=")
	case u.Fragment != "":
		return bad("# starts a fragment, which means nothing here; write %%23 for the character")
	}
	c := Config{Endpoint: u.Host}
	c.Bucket, c.Prefix, _ = strings.Cut(strings.Trim(u.Path, "/"), "/")
	if c.Bucket == "" {
		return bad("names no bucket; want minio://%s/bucket", u.Host)
	}
	if err := s3wire.CheckPrefix(c.Prefix); err != nil {
		return bad("%v", err)
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return bad("the part after ? is not valid; want tls= or region=")
	}
	for name, values := range query {
		switch name {
		case "tls":
			if c.TLS, err = strconv.ParseBool(values[0]); err != nil {
				return bad("tls=%q is neither true nor false", values[0])
			}
		case "region":
			c.Region = values[0]
		default:
			return bad("unknown option %q; want tls or region", name)
		}
		if len(values) > 1 {
			return bad("option %q is given more than once", name)
		}
	}
	return c, nil
}
