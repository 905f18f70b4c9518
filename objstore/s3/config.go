package s3

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/internal/s3wire"
)

// Config says which bucket to use and how to reach it.
type Config struct {
	Bucket string
	// Prefix goes before every key, without slashes at its ends; empty is none.
	Prefix string
	// Region of the bucket; empty asks the AWS configuration chain (AWS_REGION,
	// ~/.aws/config), and with an Endpoint falls back to us-east-1.
	Region string
	// Endpoint is the base URL of a store other than AWS's own, as http://host:port.
	Endpoint string
	// PathStyle puts the bucket into the path instead of the host name.
	PathStyle bool
	// AccessKey and SecretKey, if set, are used instead of the AWS credential
	// chain. Never logged.
	AccessKey string `json:"-"`
	SecretKey string `json:"-"`
}

// String returns the config as a --objects URL, without the keys.
func (c Config) String() string {
	query := url.Values{}
	if c.Region != "" {
		query.Set("region", c.Region)
	}
	if c.Endpoint != "" {
		query.Set("endpoint", c.Endpoint)
	}
	if c.PathStyle != (c.Endpoint != "") {
		query.Set("path_style", strconv.FormatBool(c.PathStyle))
	}
	u := url.URL{Scheme: "s3", Host: c.Bucket, Path: "/" + c.Prefix, RawQuery: query.Encode()}
	return u.String()
}

// ParseURL reads a --objects URL of the form
//
//	s3://bucket/prefix?region=&endpoint=&path_style=
//
// in which all but the bucket may be left out; path_style is true by default
// where an endpoint is given. Keys are not part of it, as command lines are
// readable by everyone on a machine. Errors: objstore.ErrConfig.
func ParseURL(raw string) (Config, error) {
	bad := func(format string, args ...any) (Config, error) {
		return Config{}, fmt.Errorf("%w: --objects: %s", objstore.ErrConfig, fmt.Sprintf(format, args...))
	}
	u, err := url.Parse(raw)
	if err != nil {
		// url.Error repeats the URL, which may hold a secret.
		return bad("not a valid URL; want s3://bucket/prefix?region=&endpoint=&path_style=")
	}
	switch {
	case u.Scheme != "s3":
		return bad("want a URL that starts with s3://")
	case u.User != nil:
		return bad("no keys in the URL, please: set WADI_OBJECTS_ACCESS_KEY and WADI_OBJECTS_SECRET_KEY, or what the AWS SDK reads")
	case u.Host == "":
		return bad("names no bucket; want s3://bucket/prefix?region=&endpoint=&path_style=")
	case u.Fragment != "":
		return bad("# starts a fragment, which means nothing here; write %%23 for the character")
	}
	c := Config{Bucket: u.Host, Prefix: strings.Trim(u.Path, "/")}
	if err := s3wire.CheckPrefix(c.Prefix); err != nil {
		return bad("%v", err)
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return bad("the part after ? is not valid; want region=&endpoint=&path_style=")
	}
	pathStyle := ""
	for name, values := range query {
		switch name {
		case "region":
			c.Region = values[0]
		case "endpoint":
			c.Endpoint = values[0]
		case "path_style":
			pathStyle = values[0]
		default:
			return bad("unknown option %q; want region, endpoint or path_style", name)
		}
		if len(values) > 1 {
			return bad("option %q is given more than once", name)
		}
	}
	if c.Endpoint != "" {
		if err := checkEndpoint(c.Endpoint); err != nil {
			return bad("%v", err)
		}
	}
	c.PathStyle = c.Endpoint != ""
	if pathStyle != "" {
		if c.PathStyle, err = strconv.ParseBool(pathStyle); err != nil {
			return bad("path_style=%q is neither true nor false", pathStyle)
		}
	}
	return c, nil
}

func checkEndpoint(endpoint string) error {
	e, err := url.Parse(endpoint)
	switch {
	case err != nil || e.Host == "" || e.Scheme != "http" && e.Scheme != "https":
		return errors.New("the endpoint is not a URL; want endpoint=https://host:port or endpoint=http://host:port")
	case e.User != nil:
		return errors.New("no keys in the endpoint, please: set WADI_OBJECTS_ACCESS_KEY and WADI_OBJECTS_SECRET_KEY")
	case e.RawQuery != "" || e.Fragment != "":
		return errors.New("the endpoint takes no ? or #; escape the & of options that are meant for the whole URL")
	}
	return nil
}
