package dispatch

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"

	"github.com/licet-project/licet/shared/protocol"
)

// settings are the same for every agent but for its name.
type settings struct{ protocol.Settings }

func newSettings(o Options, now time.Time) (settings, error) {
	s := settings{protocol.Settings{
		V: protocol.Version, Generation: now.Unix(), HeartbeatSeconds: max(1, int(o.Heartbeat/time.Second)),
	}}
	if o.ActivationURL == "" {
		return s, nil
	}
	keys, err := json.Marshal(o.Keys)
	if err != nil {
		return s, fmt.Errorf("write the activation server's keys: %w", err)
	}
	s.ActivationServer = &protocol.ActivationServer{URL: o.ActivationURL, Keys: keys}
	return s, nil
}

func (d *Dispatch) publishSettings(ctx context.Context, agent string) error {
	document := d.settings.Settings
	document.Agent = agent
	payload, err := protocol.Encode(document)
	if err != nil {
		return fmt.Errorf("publish the settings of %s: %w", agent, err)
	}
	topic := protocol.Topic{Agent: agent, Kind: protocol.KindSettings}
	if err := d.o.Outbox.Publish(ctx, topic.String(), payload, true); err != nil {
		return fmt.Errorf("publish the settings of %s: %w", agent, err)
	}
	return nil
}

// askLife is how long an ask is worth anything: longer than a sleepy network, shorter than a person's patience.
const askLife = time.Minute

// Ask wants a fresh report of each of the agent's servers, some time soon. It does not wait; if very many are wanted at
// once some are forgotten, and the next heartbeat asks again.
func (d *Dispatch) Ask(agent string) {
	select {
	case d.asks <- agent:
	default:
	}
}

// AskNow publishes an ask and returns the nonce that the reports will carry.
func (d *Dispatch) AskNow(ctx context.Context, agent string) (nonce string, err error) {
	nonce = rand.Text()
	payload, err := protocol.Encode(protocol.Ask{V: protocol.Version, Agent: agent, Nonce: nonce, Expires: time.Now().Add(askLife).UTC()})
	if err != nil {
		return "", fmt.Errorf("ask %s for a report: %w", agent, err)
	}
	topic := protocol.Topic{Agent: agent, Kind: protocol.KindAsk}
	if err := d.o.Outbox.Publish(ctx, topic.String(), payload, false); err != nil {
		return "", fmt.Errorf("ask %s for a report: %w", agent, err)
	}
	return nonce, nil
}
