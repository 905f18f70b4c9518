// Package s3wire holds what the two clients of the S3 protocol, packages s3
// and minio, share: the HTTP transport, deadlines, what the error codes of S3
// mean to Wadi and to its operator, and the handling of bodies.
//
// It makes no request and knows neither of the two libraries.
package s3wire
