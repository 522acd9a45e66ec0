package api

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/licet-project/licet/coordinator/client"
	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/coordinator/internal/fleet"
	"github.com/licet-project/licet/coordinator/internal/ledger"
	"github.com/licet-project/licet/shared/exchange"
)

const (
	answerTime = 15 * time.Second // that a check waits for fresh reports, unless its caller says otherwise
	askAtOnce  = 8                // hosts that the activation server is asked about at a time
)

func (a *API) registerChecks() {
	handle(a, operation{
		id: "check", method: http.MethodPost, path: "/v1/checks", wait: maxWait,
		summary: "Compare what ledger, servers and activation server say; nothing changes",
	},
		func(ctx context.Context, in *struct{ Body client.CheckRequest }) (client.CheckResult, error) {
			return a.check(ctx, in.Body)
		})
}

// check compares one at a time: the servers remember only the newest question that they have answered.
func (a *API) check(ctx context.Context, r client.CheckRequest) (client.CheckResult, error) {
	wait, err := waitOf(r.Wait, answerTime)
	if err != nil {
		return client.CheckResult{}, err
	}
	select {
	case a.checking <- struct{}{}:
		defer func() { <-a.checking }()
	case <-ctx.Done():
		return client.CheckResult{}, ctx.Err()
	}
	nonces, err := a.freshReports(ctx, wait)
	if err != nil {
		return client.CheckResult{}, err
	}
	result, accounts, err := a.accounts(ctx, nonces)
	if err != nil {
		return client.CheckResult{}, err
	}
	if err := a.askActivationServer(ctx, accounts); err != nil {
		return client.CheckResult{}, err
	}
	for _, account := range accounts {
		result.Mismatches = append(result.Mismatches, account.compare()...)
	}
	return result, nil
}

// comeback is how long ago an agent may have gone for a check to wait for it: a restart, not a dead machine.
const comeback = time.Minute

// freshReports asks every agent that is there, or that comes back while there is time, and waits until each of its servers
// has answered. It returns the nonce of each agent that was asked.
func (a *API) freshReports(ctx context.Context, wait time.Duration) (map[string]string, error) {
	questions := questions{nonces: map[string]string{}, since: map[string]time.Time{}}
	if a.o.Ask == nil {
		return questions.nonces, nil
	}
	after, err := a.o.DB.Newest(ctx) // before the question, so that no answer is missed
	if err != nil {
		return nil, err
	}
	patience, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		waiting, err := a.ask(ctx, &questions)
		if err != nil || len(waiting) == 0 {
			return questions.nonces, err
		}
		after, err = a.changed(patience, after, func(c db.Change) bool {
			return c.Kind == fleet.KindAgent || c.Kind == fleet.KindServer && slices.Contains(waiting, c.Key)
		})
		if err != nil && (ctx.Err() != nil || patience.Err() == nil) {
			return nil, err
		}
		if err != nil {
			return questions.nonces, nil // who has not answered by now is a mismatch
		}
	}
}

// questions are what a check has asked.
type questions struct {
	nonces map[string]string    // by agent
	since  map[string]time.Time // when the agent's connection began over which it was asked: over a new one it is asked again
}

// ask asks every agent that is there and was not asked over this connection, and returns the IDs of the servers that are
// still to answer.
func (a *API) ask(ctx context.Context, q *questions) (waiting []string, err error) {
	var now time.Time
	var agents map[string]fleet.Agent
	var servers []fleet.Server
	err = a.o.DB.View(ctx, func(tx *db.Tx) (err error) {
		now = tx.Now()
		if agents, err = fleet.Agents(tx); err == nil {
			servers, err = selectServers(tx, "")
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(agents)) {
		agent := agents[name]
		if p := agent.Presence(now, a.o.Heartbeat); p != fleet.Connected && p != fleet.Suspect || q.since[name].Equal(agent.StateAt) {
			continue
		}
		if q.nonces[name], err = a.o.Ask(ctx, name); err != nil {
			return nil, fmt.Errorf("ask agent %s for a fresh report: %w", name, err)
		}
		q.since[name] = agent.StateAt
	}
	for _, server := range servers {
		agent := agents[server.Agent]
		nonce, asked := q.nonces[server.Agent]
		if asked && server.Asked != nonce || !asked && agent.ID != "" && now.Sub(agent.StateAt) < comeback {
			waiting = append(waiting, server.ID)
		}
	}
	return waiting, nil
}

// accounts reads what ledger and servers say, of one instant.
func (a *API) accounts(ctx context.Context, nonces map[string]string) (client.CheckResult, []account, error) {
	result := client.CheckResult{Mismatches: []client.Mismatch{}, ActivationServer: a.o.ActivationServer != nil}
	var accounts []account
	err := a.o.DB.View(ctx, func(tx *db.Tx) error {
		servers, err := selectServers(tx, "")
		if err != nil {
			return err
		}
		p, err := a.picture(tx, servers, 0)
		if err != nil {
			return err
		}
		known, err := ledger.View(tx)
		if err != nil {
			return err
		}
		assignments := map[string][]ledger.Assignment{}
		for _, server := range known {
			assignments[server.ID] = server.Assignments
		}
		for i, server := range p.servers {
			details, found, err := fleet.GetDetails(tx, server.ID)
			if err != nil {
				return err
			}
			one := account{server: server, ledger: assignments[server.ID], reported: details.Rights}
			nonce, asked := nonces[server.Agent]
			switch {
			case !found:
				one.stale = "it never reported"
			case details.Facts.Unanswered != "":
				one.stale = "the server does not answer its agent: " + details.Facts.Unanswered
			case server.Presence != client.Connected && server.Presence != client.Suspect:
				one.stale = "no fresh report: its agent is " + string(server.Presence)
			case asked && servers[i].Asked != nonce:
				one.stale = "no fresh report: its agent did not answer in time"
			}
			accounts = append(accounts, one)
			for _, l := range one.ledger {
				if l.Want > 0 {
					result.Assignments++
				}
			}
		}
		result.At, result.Servers = p.at, len(p.servers)
		return nil
	})
	return result, accounts, err
}

// askActivationServer adds what the activation server says of every server that has a host ID.
func (a *API) askActivationServer(ctx context.Context, accounts []account) error {
	if a.o.ActivationServer == nil {
		return nil
	}
	asking, ctx := errgroup.WithContext(ctx)
	asking.SetLimit(askAtOnce)
	for i := range accounts {
		host := accounts[i].server.HostID
		if host == "" {
			continue
		}
		asking.Go(func() error {
			state, err := a.o.ActivationServer.HostState(ctx, host)
			if err != nil {
				return fmt.Errorf("ask the activation server what host %s holds: %w", host, err)
			}
			accounts[i].activation = &state
			return nil
		})
	}
	err := asking.Wait()
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	problem := &client.Problem{
		Status: http.StatusServiceUnavailable, Code: client.CodeUnavailable, Detail: err.Error(),
		Hint: "look at the activation server and at the way to it, then check again",
	}
	if refusal, ok := errors.AsType[*exchange.Refusal](err); ok {
		problem.Hint = refusal.Code.Meaning().Hint
	}
	return problem
}
