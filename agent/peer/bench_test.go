package peer

import (
	"fmt"
	"log/slog"
	"net"
	"testing"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
)

// BenchmarkRead is what an owner gives from memory over a real socket, asker and owner on one machine.
func BenchmarkRead(b *testing.B) {
	for _, size := range []int64{4 << 10, 4 << 20, 16 << 20} {
		b.Run(fmt.Sprintf("%d KiB", size>>10), func(b *testing.B) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			log := slog.New(slog.DiscardHandler)
			server := NewServer(make(file, size).read, 64<<20, identity(b, secret), NewMetrics(prometheus.NewRegistry()), log)
			served := make(chan error, 1)
			go func() { served <- server.Serve(ln) }()
			members := func() (int32, []Member) { return 1, []Member{{NodeID: 2, Address: ln.Addr().String()}} }
			client := NewClient(members, identity(b, secret), NewMetrics(prometheus.NewRegistry()), log)
			b.Cleanup(func() {
				client.Close()
				server.Close()
				if err := <-served; err != nil {
					b.Error(err)
				}
			})
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := client.Owner(uuid.Nil, 0).Read(b.Context(), uuid.Nil, 0, size, true); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
