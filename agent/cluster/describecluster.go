package cluster

// DescribeCluster (60), versions 0 to 2.
//
//   - v0 KIP-700; v1 KIP-919 endpoint types; v2 KIP-1073 fenced brokers

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/protocol"
)

// Endpoint types of KIP-919.
const (
	endpointBrokers     = 1
	endpointControllers = 2
)

// DescribeCluster tells brokers, controller and cluster ID. There are no
// controllers to connect to, and no agent is ever fenced: it is in the register or not.
func (c *Cluster) DescribeCluster(_ context.Context, client protocol.Client, req *kmsg.DescribeClusterRequest) *kmsg.DescribeClusterResponse {
	resp := req.ResponseKind().(*kmsg.DescribeClusterResponse)
	resp.EndpointType, resp.ControllerID, resp.ClusterAuthorizedOperations = endpointBrokers, -1, operationsNotAsked
	if req.Version >= 1 && req.EndpointType != endpointBrokers {
		message := "Unsupported endpoint type"
		resp.ErrorCode = kerr.UnsupportedEndpointType.Code
		if req.EndpointType == endpointControllers {
			message = "The request was sent to a broker, but asks for controllers"
			resp.ErrorCode = kerr.MismatchedEndpointType.Code
		}
		resp.ErrorMessage = &message
		return resp
	}
	view := c.router.View(client)
	resp.ClusterID = c.clusterID
	resp.ControllerID = view.Controller().NodeID
	resp.ClusterAuthorizedOperations = operations(req.IncludeClusterAuthorizedOperations, clusterOperations)
	for _, b := range view.Brokers {
		broker := kmsg.NewDescribeClusterResponseBroker()
		broker.NodeID, broker.Host, broker.Port, broker.Rack = b.NodeID, b.Host, b.Port, rack(b)
		resp.Brokers = append(resp.Brokers, broker)
	}
	return resp
}
