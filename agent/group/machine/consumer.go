package machine

// Consumer is a group of the consumer protocol (KIP-848).
type Consumer struct{}
