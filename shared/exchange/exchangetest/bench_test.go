package exchangetest

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkExchange is a request, its response applied, and its confirmation, with every change on disk.
func BenchmarkExchange(b *testing.B) {
	for name, dir := range map[string]string{"memory": "", "disk": b.TempDir()} {
		b.Run(name, func(b *testing.B) {
			s, err := New(Options{Dir: dir})
			require.NoError(b, err)
			var n atomic.Int64
			run := func(g int64, h *Host) {
				response, err := s.Process(must(h.Request(order(g), counts{snmp: int(g % 2)})))
				if err == nil {
					_, err = s.Process(must(h.Apply(response)))
				}
				if err != nil {
					b.Error(err)
				}
			}
			b.Run("one", func(b *testing.B) {
				h, err := NewHost(fmt.Sprintf("DEMO-host-%d", n.Add(1)), s.Keys)
				require.NoError(b, err)
				b.ReportAllocs()
				for g := int64(1); b.Loop(); g++ {
					run(g, h)
				}
			})
			b.Run("eight", func(b *testing.B) {
				b.SetParallelism(4) // times two cores
				b.RunParallel(func(pb *testing.PB) {
					h, err := NewHost(fmt.Sprintf("DEMO-host-%d", n.Add(1)), s.Keys)
					require.NoError(b, err)
					for g := int64(1); pb.Next(); g++ {
						run(g, h)
					}
				})
			})
			require.NoError(b, s.Close())
		})
	}
}
