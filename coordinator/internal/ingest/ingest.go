// Package ingest takes what agents say: it decodes with limits, checks that topic, client and payload name the same agent
// and server, drops what is not newer, verifies receipts, and changes fleet and ledger in one transaction. A message is
// acknowledged after the commit; one that is refused is counted, logged once in a while, changes nothing, and is acknowledged too.
package ingest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/licet-project/licet/coordinator/internal/broker"
	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/coordinator/internal/fleet"
	"github.com/licet-project/licet/shared/protocol"
	"github.com/licet-project/licet/shared/signed"
)

// Options of New.
type Options struct {
	DB      *db.DB                // required
	Keys    signed.KeySet         // of the activation server; empty: no receipt proves anything
	Ask     func(agent string)    // wants a fresh report from an agent, without waiting; nil: nobody is asked
	Metrics prometheus.Registerer // nil: counted, not exported
	Logger  zerolog.Logger
}

// Ingest takes messages; it may be called from any number of goroutines.
type Ingest struct {
	o       Options
	refused *prometheus.CounterVec
	taken   *prometheus.CounterVec
	quiet   quiet
}

// New makes an Ingest; it opens nothing.
func New(o Options) (*Ingest, error) {
	if o.DB == nil {
		return nil, errors.New("ingest needs a database")
	}
	if o.Ask == nil {
		o.Ask = func(string) {}
	}
	i := &Ingest{
		o: o,
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "licet_ingest_refused_total", Help: "Messages of agents that were refused and changed nothing, by reason.",
		}, []string{"reason"}),
		taken: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "licet_ingest_taken_total", Help: "Messages of agents that were taken, by kind.",
		}, []string{"kind"}),
	}
	for _, reason := range Reasons {
		i.refused.WithLabelValues(string(reason)) // a counter that is 0 can be watched, one that is missing cannot
	}
	if o.Metrics != nil {
		for _, counter := range []prometheus.Collector{i.refused, i.taken} {
			if err := o.Metrics.Register(counter); err != nil {
				return nil, fmt.Errorf("register the counters of ingest: %w", err)
			}
		}
	}
	return i, nil
}

// Handle takes one message and calls done once, after the commit: nil acknowledges it, an error means that it has to come
// again.
func (i *Ingest) Handle(ctx context.Context, m broker.Message, done func(error)) {
	kind, err := i.take(ctx, m)
	if refusal := refusalOf(err); refusal != nil {
		i.Refuse(m.Agent, refusal.reason, refusal.err)
		err = nil
	} else if err == nil {
		i.taken.WithLabelValues(string(kind)).Inc()
	} else if ctx.Err() == nil {
		i.o.Logger.Error().Err(err).Str("agent", m.Agent).Msg("a message could not be taken; it has to come again")
	}
	done(err)
}

// Refuse counts a message that was refused, here or by the broker before it came here, and logs it once in a while.
func (i *Ingest) Refuse(agent string, reason Reason, why error) {
	i.refused.WithLabelValues(string(reason)).Inc()
	if since, say := i.quiet.say(agent, reason, time.Now()); say {
		i.o.Logger.Warn().Str("agent", agent).Str("reason", string(reason)).Int("since_last", since).AnErr("why", why).Msg("a message was refused")
	}
}

// take decodes, checks and applies; nothing has changed if it returns an error.
func (i *Ingest) take(ctx context.Context, m broker.Message) (protocol.Kind, error) {
	topic, err := protocol.ParseTopic(m.Topic)
	if err != nil || !topic.Kind.FromAgent() {
		return "", &refused{UnknownTopic, errors.New("no agent speaks on this topic")}
	}
	if topic.Agent != m.Agent {
		return "", &refused{AgentMismatch, errors.New("the topic is another agent's")}
	}
	switch topic.Kind {
	case protocol.KindPresence:
		err = i.presence(ctx, topic, m.Payload)
	case protocol.KindHeartbeat:
		err = i.heartbeat(ctx, topic, m.Payload)
	default:
		err = i.reported(ctx, topic, m.Payload)
	}
	return topic.Kind, err
}

func (i *Ingest) presence(ctx context.Context, topic protocol.Topic, payload []byte) error {
	p, err := protocol.Decode[protocol.Presence](payload)
	if err != nil {
		return fmt.Errorf("read a presence: %w", err)
	}
	if err := sameAgent(topic, p.Agent); err != nil {
		return err
	}
	var taken bool
	err = i.o.DB.Update(ctx, func(tx *db.Tx) (err error) {
		taken, err = fleet.HearPresence(tx, p)
		return err
	})
	if err != nil {
		return fmt.Errorf("take a presence: %w", err)
	}
	if !taken {
		return &refused{RetiredBoot, errors.New("two processes use this identity: its servers are frozen for changes")}
	}
	return nil
}

func (i *Ingest) heartbeat(ctx context.Context, topic protocol.Topic, payload []byte) error {
	h, err := protocol.Decode[protocol.Heartbeat](payload)
	if err != nil {
		return fmt.Errorf("read a heartbeat: %w", err)
	}
	if err := sameAgent(topic, h.Agent); err != nil {
		return err
	}
	var behind bool
	err = i.o.DB.Update(ctx, func(tx *db.Tx) (err error) {
		behind, err = fleet.Beat(tx, h)
		return err
	})
	if err != nil {
		return fmt.Errorf("take a heartbeat: %w", err)
	}
	if behind {
		i.o.Ask(h.Agent)
	}
	return nil
}

func sameAgent(topic protocol.Topic, agent string) error {
	if agent != topic.Agent {
		return &refused{AgentMismatch, errors.New("the payload names another agent than the topic")}
	}
	return nil
}
