package report

import (
	"context"
	"fmt"
	mathrand "math/rand/v2"
	"time"

	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/protocol"
)

// next is what to send now, or nil and when to look again.
func (r *Reporter) next(now time.Time) (func(context.Context), time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range r.names {
		if e := r.servers[name]; e.changed {
			return func(context.Context) { r.look(e) }, now
		}
	}
	at := now.Add(wholeTime)
	switch {
	case !r.up:
		return nil, at
	case now.Before(r.resumeAt):
		return nil, r.resumeAt
	case !r.online:
		return r.sendOnline, now
	case !now.Before(r.wholeAt):
		r.wholeAt = now.Add(jitter(wholeTime))
		for _, e := range r.servers {
			e.due, e.force = now, true
		}
	case !now.Before(r.beatAt):
		r.beatAt = now.Add(jitter(r.heartbeat))
		return r.sendHeartbeat, now
	}
	var first *entry
	for _, name := range r.names {
		if e := r.servers[name]; !e.due.IsZero() && (first == nil || e.due.Before(first.due)) {
			first = e
		}
	}
	if first != nil && !now.Before(first.due) {
		return func(ctx context.Context) { r.sendReport(ctx, first) }, now
	}
	for _, t := range []time.Time{r.wholeAt, r.beatAt} {
		if t.Before(at) {
			at = t
		}
	}
	if first != nil && first.due.Before(at) {
		at = first.due
	}
	return nil, at
}

func (r *Reporter) sendOnline(ctx context.Context) {
	session := r.number()
	err := r.send(ctx, r.presenceTopic(), true, r.presence(protocol.Online, session))
	r.update(func(now time.Time) {
		r.outcome(now, err)
		if r.session.Connection == session.Connection { // else it was said over an earlier connection
			r.online = r.up && err == nil
		}
	})
}

// sendHeartbeat is not tried again: the next one says the same.
func (r *Reporter) sendHeartbeat(ctx context.Context) {
	r.mu.Lock()
	beat := protocol.Heartbeat{V: protocol.Version, Agent: r.o.Agent, At: time.Now().UTC(), Servers: make(map[string]exchange.Digest)}
	for name, e := range r.servers {
		if e.sent != "" {
			beat.Servers[name] = e.sent
		}
		if !e.due.IsZero() {
			beat.Queue++
		}
	}
	r.mu.Unlock()
	beat.Session = r.number()
	payload, err := protocol.Encode(beat)
	if err == nil {
		err = r.o.Publish(ctx, protocol.Topic{Agent: r.o.Agent, Kind: protocol.KindHeartbeat}.String(), 0, false, payload)
	}
	if err != nil {
		r.o.Logger.Debug().Err(err).Msg("heartbeat not sent")
	}
}

func (r *Reporter) sendReport(ctx context.Context, e *entry) {
	r.mu.Lock()
	system, facts, activation := e.system, e.facts, e.activation
	force, asked, sent, refused := e.force, e.asked, e.sent, e.refused
	e.due, e.force, e.asked, e.ending = time.Time{}, false, nil, false
	r.mu.Unlock()

	body, err := compose(facts, activation, system, r.o.Version)
	digest := exchange.DigestOf(body)
	if err != nil { // a flaw that sending again does not cure
		if digest != refused {
			r.o.Logger.Error().Err(err).Str("server", e.name).Msg("this server cannot be reported")
		}
		r.update(func(time.Time) { e.refused = digest; asked.done() })
		return
	}
	if digest == sent && !force {
		return
	}
	document := protocol.Reported{
		V: protocol.Version, Agent: r.o.Agent, Server: e.name, Session: r.number(), At: time.Now().UTC(), Report: body,
	}
	if asked != nil {
		document.Asked = asked.nonce
	}
	err = r.send(ctx, protocol.Topic{Agent: r.o.Agent, Server: e.name, Kind: protocol.KindReported}.String(), false, document)
	r.update(func(now time.Time) {
		r.outcome(now, err)
		switch {
		case err == nil:
			e.sent = digest
			asked.done()
		case r.up && e.asked == nil: // still the same question, and nobody else's
			e.asked = asked
		default:
			asked.done()
		}
		if err != nil {
			e.dueBy(now)
			e.force = true // whether it arrived is not known
		}
	})
}

// send is for documents that must arrive.
func (r *Reporter) send(ctx context.Context, topic string, retained bool, document protocol.Document) error {
	payload, err := protocol.Encode(document)
	if err != nil {
		return err
	}
	if err := r.o.Publish(ctx, topic, 1, retained, payload); err != nil {
		return fmt.Errorf("say something to the coordinator: %w", err)
	}
	return nil
}

// outcome makes the sender pause after a failure, longer each time; r.mu is held.
func (r *Reporter) outcome(now time.Time, err error) {
	if err == nil {
		r.failures = 0
		return
	}
	r.failures++
	pause := min(time.Second<<min(r.failures-1, 6), maxPause)
	r.resumeAt = now.Add(pause/2 + mathrand.N(pause/2))
	event := r.o.Logger.Warn()
	if r.failures > 1 {
		event = r.o.Logger.Debug() // it was said
	}
	event.Err(err).Int("failures", r.failures).Msg("the broker did not take a document; it goes again")
}
