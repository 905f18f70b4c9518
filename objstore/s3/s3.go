// Package s3 is an object store in a bucket of Amazon S3 or of anything that
// speaks its protocol, through the AWS SDK.
//
// An object is one PutObject, read by ranged GetObject. S3 acknowledges a PUT
// when it is durable, and is consistent: what it acknowledged is seen by every
// later read and listing. Package [github.com/wadi-log/wadi/objstore/minio]
// speaks the same protocol through another library, which suits stores that
// need no AWS configuration.
//
// The SDK's own retries are off: one layer retries, objstore.Retry, which
// knows what may be repeated and for how long.
package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/internal/s3wire"
)

// Bucket is a bucket, or the part of one under a prefix.
type Bucket struct {
	client    *awss3.Client
	transport *http.Transport
	bucket    *string
	prefix    string // "" or ending in a slash
	store     s3wire.Store
	foreign   bool // a store other than AWS's own
}

// Open returns the bucket after trying out that it can be written, read,
// listed and deleted from. Errors: objstore.ErrConfig; others mean that the
// store can't be reached or doesn't answer now.
func Open(ctx context.Context, c Config) (*Bucket, error) {
	return open(ctx, c, objstore.Probe)
}

// OpenReadOnly is Open for who only reads and lists: it tries out no more than
// that, and writes nothing.
func OpenReadOnly(ctx context.Context, c Config) (*Bucket, error) {
	return open(ctx, c, objstore.ProbeReading)
}

func open(ctx context.Context, c Config, probe func(context.Context, objstore.Bucket) error) (*Bucket, error) {
	// The SDK adds the certificates of AWS_CA_BUNDLE to a client that it can rebuild.
	options := []func(*awsconfig.LoadOptions) error{
		awsconfig.WithHTTPClient(awshttp.NewBuildableClient().WithTransportOptions(s3wire.Tune)),
		awsconfig.WithLogger(logging.Nop{}),
	}
	keysFrom := "AWS credential chain (or WADI_OBJECTS_ACCESS_KEY and WADI_OBJECTS_SECRET_KEY)"
	switch {
	case c.AccessKey != "" && c.SecretKey != "":
		keysFrom = "WADI_OBJECTS_ACCESS_KEY, WADI_OBJECTS_SECRET_KEY"
		options = append(options, awsconfig.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(c.AccessKey, c.SecretKey, "")))
	case c.AccessKey != "" || c.SecretKey != "":
		return nil, fmt.Errorf("%w: WADI_OBJECTS_ACCESS_KEY, WADI_OBJECTS_SECRET_KEY: only one of the two is set; set both or neither", objstore.ErrConfig)
	}
	if c.Region != "" {
		options = append(options, awsconfig.WithRegion(c.Region))
	}
	conf, err := awsconfig.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("%w: read the AWS SDK's configuration (AWS_ variables, ~/.aws/config): %w", objstore.ErrConfig, err)
	}
	if conf.Region == "" && c.Endpoint != "" {
		conf.Region = "us-east-1"
	}
	if conf.Region == "" {
		return nil, fmt.Errorf("%w: --objects: the region of bucket %q is unknown; add ?region= to the URL or set AWS_REGION", objstore.ErrConfig, c.Bucket)
	}
	if _, err := conf.Credentials.Retrieve(ctx); err != nil {
		return nil, fmt.Errorf("%w: no AWS credentials found; set WADI_OBJECTS_ACCESS_KEY and WADI_OBJECTS_SECRET_KEY, or what the AWS SDK reads: %w", objstore.ErrConfig, err)
	}
	client, transport, err := newClient(conf, c)
	if err != nil {
		return nil, err
	}
	b := &Bucket{
		client:    client,
		transport: transport,
		bucket:    &c.Bucket,
		store:     s3wire.Store{Bucket: c.Bucket, Endpoint: c.Endpoint, KeysFrom: keysFrom},
		foreign:   c.Endpoint != "",
	}
	if c.Prefix != "" {
		b.prefix = c.Prefix + "/"
	}
	if c.Endpoint == "" {
		b.store.Endpoint = "AWS S3 in " + conf.Region
	}
	if err := probe(ctx, objstore.Retry(b, objstore.DefaultRetryPolicy())); err != nil {
		transport.CloseIdleConnections()
		return nil, fmt.Errorf("try out the object store: %w", err)
	}
	return b, nil
}

// newClient returns a client, and the transport that it alone uses.
func newClient(conf aws.Config, c Config) (*awss3.Client, *http.Transport, error) {
	buildable, ok := conf.HTTPClient.(*awshttp.BuildableClient)
	if !ok {
		return nil, nil, fmt.Errorf("the AWS SDK replaced the HTTP client by a %T", conf.HTTPClient)
	}
	transport := buildable.GetTransport() // a copy, which we can close
	client := awss3.NewFromConfig(conf, func(o *awss3.Options) {
		o.HTTPClient = &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
		o.Retryer = aws.NopRetryer{}
		o.UsePathStyle = c.PathStyle
		if c.Endpoint != "" {
			o.BaseEndpoint = &c.Endpoint
		}
		// Put brings its own checksum. The SDK's default would add trailing
		// checksums in a chunked encoding that older stores don't know, and
		// check the whole objects that we read; datafile has checksums of its own.
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	})
	return client, transport, nil
}

// Close implements objstore.Bucket.
func (b *Bucket) Close() error {
	b.transport.CloseIdleConnections()
	return nil
}

// explain turns the SDK's error into ours.
func (b *Bucket) explain(ctx context.Context, verb, key string, err error) error {
	f := s3wire.Failure{Verb: verb, Key: key, Err: err}
	var api smithy.APIError
	if errors.As(err, &api) {
		f.Code = api.ErrorCode()
	}
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) {
		f.Status = response.HTTPStatusCode()
	}
	return b.store.Explain(ctx, f)
}
