// Package manifests checks what the folder deploy holds for Kubernetes, systemd, Prometheus and
// Grafana, without any of them running: the chart renders into objects of Kubernetes' own types, and what its pods
// would start does start; the unit is one that systemd takes; dashboard and alerts ask for
// metrics that a running agent has; settings and commands in all of them exist.
package manifests
