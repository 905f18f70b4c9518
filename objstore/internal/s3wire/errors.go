package s3wire

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/wadi-log/wadi/objstore"
)

// Store is what error messages say of the store.
type Store struct {
	Bucket   string
	Endpoint string // where it is, for people
	KeysFrom string // the settings that the credentials come from
}

// Failure is a failed call as the libraries report it.
type Failure struct {
	Verb   string // put, get, list, delete or abort
	Key    string // or prefix; "" for many
	Code   string // error code of S3; "" where the answer had none, or there was no answer
	Status int    // HTTP status, 0 without an answer
	Err    error
}

// permissions are what Wadi needs to be allowed, by verb.
var permissions = map[string]string{
	"put": "s3:PutObject", "get": "s3:GetObject", "list": "s3:ListBucket", "delete": "s3:DeleteObject",
	"abort": "s3:ListBucketMultipartUploads and s3:AbortMultipartUpload",
}

// errDenied marks a refusal that may be a false one.
var errDenied = errors.New("access denied")

// putAttempts is how often a PUT must be denied to be believed.
const putAttempts = 4

// Put calls put again when it is denied. MinIO answers AccessDenied also when
// the folder of the object vanishes under its hands, because the last other
// object in it is being deleted: for that no producer should fail.
func Put(put func() error) error {
	for attempt := 1; ; attempt++ {
		err := put()
		if attempt == putAttempts || !errors.Is(err, errDenied) {
			return err
		}
	}
}

// Explain says what a failure means: it wraps the sentinel of objstore, if one
// fits, and the library's error, and names for an operator the setting and what
// to do. ctx is the one that the call was made with.
func (s Store) Explain(ctx context.Context, f Failure) error {
	f.Err = timeout(ctx, f.Err)
	doing := f.Verb
	if f.Key != "" {
		doing += " " + f.Key
	}
	if kind := s.kind(f); kind != nil {
		return fmt.Errorf("%s: %w (%w)", doing, kind, f.Err)
	}
	return fmt.Errorf("%s: %w", doing, f.Err)
}

// kind returns what is known of the failure, or nil.
func (s Store) kind(f Failure) error {
	config := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", objstore.ErrConfig, fmt.Sprintf(format, args...))
	}
	// Codes: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
	switch f.Code {
	case "NoSuchKey":
		return objstore.ErrNotFound
	case "InvalidRange":
		return objstore.ErrRange
	case "NoSuchBucket":
		return config("--objects: bucket %q does not exist at %s; create it, or correct the name", s.Bucket, s.Endpoint)
	case "InvalidBucketName":
		return config("--objects: %q is no name that a bucket can have; correct it", s.Bucket)
	case "InvalidAccessKeyId":
		return config("%s: %s does not know the access key; correct it", s.KeysFrom, s.Endpoint)
	case "SignatureDoesNotMatch":
		return config("%s: the secret key does not belong to the access key at %s; correct it", s.KeysFrom, s.Endpoint)
	case "ExpiredToken", "InvalidToken", "TokenRefreshRequired":
		return config("%s: the credentials have expired or are invalid at %s; renew them", s.KeysFrom, s.Endpoint)
	case "AuthorizationHeaderMalformed", "PermanentRedirect", "TemporaryRedirect", "IllegalLocationConstraintException", "InvalidRegion":
		return config("--objects: bucket %q is in another region; set it with ?region= in the URL", s.Bucket)
	case "RequestTimeTooSkewed":
		return fmt.Errorf("the clock of this machine differs from that of %s; run a time service such as NTP", s.Endpoint)
	case "XMinioStorageFull":
		return fmt.Errorf("the disks of %s are full; free or add space", s.Endpoint)
	}
	if f.Status == http.StatusForbidden || f.Code == "AccessDenied" {
		return fmt.Errorf("%w: %w: --objects: the credentials may not %s objects in bucket %q; allow them %s, or use others (%s)",
			objstore.ErrConfig, errDenied, f.Verb, s.Bucket, permissions[f.Verb], s.KeysFrom)
	}
	switch f.Status {
	case http.StatusUnauthorized:
		return config("%s: %s accepts no credentials of this kind (%s)", s.KeysFrom, s.Endpoint, f.Code)
	case http.StatusMovedPermanently:
		return config("--objects: %s redirects; set the bucket's region with ?region=, or correct the endpoint", s.Endpoint)
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		return objstore.ErrSlowDown
	}
	if f.Status == 0 && f.Code == "" {
		return s.unreachable(f.Err)
	}
	return nil
}

// unreachable explains a call that got no answer.
func (s Store) unreachable(err error) error {
	var certificate *tls.CertificateVerificationError
	var network *net.OpError
	var name *net.DNSError
	switch {
	case errors.Is(err, context.Canceled):
		return nil
	case errors.Is(err, http.ErrSchemeMismatch):
		return fmt.Errorf("%w: --objects: %s speaks plain HTTP, not TLS; correct the endpoint or ?tls=", objstore.ErrConfig, s.Endpoint)
	case errors.As(err, &certificate):
		return fmt.Errorf("%w: --objects: the certificate of %s is not trusted here; install its authority's (SSL_CERT_FILE)", objstore.ErrConfig, s.Endpoint)
	case errors.As(err, &name), errors.As(err, &network) && network.Op == "dial":
		return fmt.Errorf("--objects: cannot reach %s; check its host and port, and that it is running", s.Endpoint)
	}
	return nil
}
