package bmstest

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/shared/exchange"
)

// Both include the durable write that comes before the answer.

func BenchmarkCreateRequest(b *testing.B) {
	for _, rights := range []int{2, 50} {
		b.Run(fmt.Sprintf("rights=%d", rights), func(b *testing.B) {
			s := newBench(b)
			var want []exchange.Right
			for i := range rights {
				want = append(want, right(fmt.Sprintf("DEMO-ACT-%04d", i), i))
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.CreateRequest(b.Context(), field, order, want); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkApplyResponse(b *testing.B) {
	s := newBench(b)
	image, err := s.Image(field)
	require.NoError(b, err)
	want := []exchange.Right{right("A", 1), right("B", 2)}
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		require.NoError(b, s.Restore(image))
		response := s.answer(s.request(want...))
		b.StartTimer()
		if _, err := s.ApplyResponse(b.Context(), field, response); err != nil {
			b.Fatal(err)
		}
	}
}
