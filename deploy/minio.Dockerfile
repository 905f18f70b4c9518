# MinIO for docker-compose.yml, built from its Go module: no registry has the community's images any more that could be relied on.
# It is the version that the tests run (test/setup/setup.sh). The first build takes minutes: about five on two cores.
#
#   docker build -f deploy/minio.Dockerfile -t wadi-minio deploy

FROM golang:1.26.8-alpine AS build
ARG MINIO_VERSION=v0.0.0-20250907161309-07c3a429bfed
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 go install -trimpath -ldflags "-s -w" "github.com/minio/minio@$MINIO_VERSION" && \
    mkdir /data

# A shell makes the folder that becomes the bucket, and wget asks MinIO how it is.
FROM alpine:3.22.2
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /go/bin/minio /usr/local/bin/minio
# A new volume mounted here takes over its owner, the user that MinIO runs as.
COPY --from=build --chown=65532:65532 /data /data
USER 65532:65532
# There is no newer one to look for, and its console would be at a port that nobody knows.
ENV MINIO_UPDATE=off MINIO_BROWSER=off
EXPOSE 9000
CMD ["minio", "server", "/data"]
