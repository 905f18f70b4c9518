package telemetry

import (
	"errors"

	"google.golang.org/protobuf/encoding/protowire"
)

// counts is what a push holds.
type counts struct{ metrics, points int }

// errNoMetrics: the bytes are no OTLP metrics.
var errNoMetrics = errors.New("no OTLP metrics")

// The fields of OpenTelemetry's metrics.proto on the way from MetricsData to the data points:
//
//	MetricsData.resource_metrics -> ResourceMetrics.scope_metrics -> ScopeMetrics.metrics ->
//	Metric.(gauge | sum | histogram | exponential_histogram | summary) -> data_points
const (
	resourceMetrics = 1
	scopeMetrics    = 2
	metricsOfScope  = 2
	dataPoints      = 1
)

var kinds = map[protowire.Number]bool{5: true, 7: true, 9: true, 10: true, 11: true}

// count walks OTLP metrics without allocating: counting needs none of the values, and
// messages decoded for it would take ten times the room of their bytes.
func count(data []byte) (n counts, err error) {
	err = each(data, func(field protowire.Number, resource []byte) error {
		if field != resourceMetrics {
			return nil
		}
		return each(resource, func(field protowire.Number, scope []byte) error {
			if field != scopeMetrics {
				return nil
			}
			return each(scope, func(field protowire.Number, metric []byte) error {
				if field != metricsOfScope {
					return nil
				}
				n.metrics++
				return each(metric, n.kind)
			})
		})
	})
	return n, err
}

// kind counts the data points if the field holds them.
func (n *counts) kind(field protowire.Number, data []byte) error {
	if !kinds[field] {
		return nil
	}
	return each(data, func(field protowire.Number, _ []byte) error {
		if field == dataPoints {
			n.points++
		}
		return nil
	})
}

// each visits the fields of a message that have a length, and checks that the others are whole.
func each(message []byte, visit func(field protowire.Number, value []byte) error) error {
	for len(message) > 0 {
		field, kind, size := protowire.ConsumeTag(message)
		if size < 0 {
			return errNoMetrics
		}
		message = message[size:]
		if size = protowire.ConsumeFieldValue(field, kind, message); size < 0 {
			return errNoMetrics
		}
		if kind == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(message)
			if err := visit(field, value); err != nil {
				return err
			}
		}
		message = message[size:]
	}
	return nil
}
