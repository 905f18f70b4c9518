package machine

// Classic is a group of the classic protocol.
type Classic struct{}
