package broker

import (
	"errors"
	"sync/atomic"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/prometheus/client_golang/prometheus"
)

// counters are what an operator watches. Anything dropped is an alarm: documents are kept for whoever comes back, but
// nobody is told that one was lost on the way.
type counters struct {
	refused *prometheus.CounterVec
	untaken prometheus.Counter
	slow    prometheus.Counter
	library []prometheus.Collector
}

func newCounters(server *mqtt.Server) *counters {
	read := func(value *int64) func() float64 {
		return func() float64 { return float64(atomic.LoadInt64(value)) }
	}
	c := &counters{
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "licet_broker_refused_total", Help: "What clients of the broker wanted and were not allowed, by reason.",
		}, []string{"reason"}),
		untaken: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "licet_broker_untaken_total", Help: "Messages of agents that could not be taken and were not acknowledged.",
		}),
		slow: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "licet_broker_slow_clients_total", Help: "Connections closed because the client did not take its documents.",
		}),
		library: []prometheus.Collector{
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name: "licet_broker_clients", Help: "Connections now.",
			}, read(&server.Info.ClientsConnected)),
			prometheus.NewCounterFunc(prometheus.CounterOpts{
				Name: "licet_broker_messages_dropped_total", Help: "Documents dropped because a client's write queue was full.",
			}, read(&server.Info.MessagesDropped)),
			prometheus.NewCounterFunc(prometheus.CounterOpts{
				Name: "licet_broker_inflight_dropped_total", Help: "Documents dropped because a client acknowledged too few.",
			}, read(&server.Info.InflightDropped)),
		},
	}
	for _, err := range []error{ErrTooLarge, ErrForbidden} {
		c.refused.WithLabelValues(reason(err)) // a counter that is 0 can be watched, one that is missing cannot
	}
	return c
}

func reason(err error) string {
	if errors.Is(err, ErrTooLarge) {
		return "too_large"
	}
	return "forbidden"
}

func (c *counters) refuse(err error) { c.refused.WithLabelValues(reason(err)).Inc() }

func (c *counters) register(r prometheus.Registerer) error {
	for _, collector := range append([]prometheus.Collector{c.refused, c.untaken, c.slow}, c.library...) {
		if err := r.Register(collector); err != nil {
			return err
		}
	}
	return nil
}
