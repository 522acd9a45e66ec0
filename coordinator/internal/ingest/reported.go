package ingest

import (
	"context"
	"errors"
	"fmt"

	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/coordinator/internal/fleet"
	"github.com/licet-project/licet/coordinator/internal/ledger"
	"github.com/licet-project/licet/shared/crash"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/protocol"
)

// reported takes what an agent says of a server. One that says what the last one said costs no reading and no row but the
// time at which it was last seen.
func (i *Ingest) reported(ctx context.Context, topic protocol.Topic, payload []byte) error {
	envelope, err := protocol.Decode[protocol.Reported](payload)
	if err != nil {
		return fmt.Errorf("read a report: %w", err)
	}
	if err := sameAgent(topic, envelope.Agent); err != nil {
		return err
	}
	if envelope.Server != topic.Server {
		return &refused{ServerMismatch, errors.New("the payload names another server than the topic")}
	}
	if same, err := i.unchanged(ctx, envelope); same || err != nil {
		return err
	}
	// Reading and verifying wait for nobody, so they stand outside of the transaction.
	report, receipt, err := i.read(envelope)
	if err != nil {
		return err
	}
	err = i.o.DB.Update(ctx, func(tx *db.Tx) error {
		if err := fleet.Hear(tx, envelope.Agent, envelope.Session); err != nil {
			return err
		}
		applied, err := fleet.Apply(tx, envelope, report)
		if err != nil {
			return err
		}
		if _, err := ledger.EnsureServers(tx, applied.Server.ID); err != nil {
			return err
		}
		_, err = ledger.Settle(tx, applied.Server.ID, report, receipt)
		return err
	})
	if errors.Is(err, fleet.ErrOtherAgent) {
		err = errors.Join(err, i.suspect(ctx, report))
	}
	if err != nil {
		return fmt.Errorf("take a report of %s: %w", envelope.Server, err)
	}
	// A crash here: fleet and ledger know, the agent does not know that they do. It sends the same again.
	crash.At("ingest.report-taken")
	return nil
}

// suspect freezes a host that two agents report, unless the inventory says who is right.
func (i *Ingest) suspect(ctx context.Context, report protocol.Report) error {
	return i.o.DB.Update(ctx, func(tx *db.Tx) error {
		_, err := fleet.SuspectClone(tx, report.Facts)
		return err
	})
}

// errChanged takes the transaction of an unchanged report back.
var errChanged = errors.New("the report says something new")

// unchanged reports whether the stored report has the same digest, and if so notes that it was seen again.
func (i *Ingest) unchanged(ctx context.Context, envelope protocol.Reported) (bool, error) {
	digest := envelope.Digest()
	var known bool
	err := i.o.DB.View(ctx, func(tx *db.Tx) (err error) {
		known, err = fleet.Knows(tx, envelope.Agent, envelope.Server, digest)
		return err
	})
	if err != nil || !known {
		return false, err
	}
	err = i.o.DB.Update(ctx, func(tx *db.Tx) error {
		if err := fleet.Hear(tx, envelope.Agent, envelope.Session); err != nil {
			return err
		}
		same, err := fleet.SeenAgain(tx, envelope, digest)
		if err == nil && !same {
			err = errChanged // another message came in between
		}
		return err
	})
	if errors.Is(err, errChanged) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("take an unchanged report of %s: %w", envelope.Server, err)
	}
	return true, nil
}

// read reads the report and verifies its receipt. A receipt that does not verify proves nothing and is counted; the facts
// around it are taken all the same.
func (i *Ingest) read(envelope protocol.Reported) (protocol.Report, *exchange.Receipt, error) {
	report, err := protocol.DecodeReport(envelope.Report)
	if err != nil {
		return report, nil, fmt.Errorf("read a report: %w", err)
	}
	if protocol.ServerName(report.Facts.HostID) != envelope.Server {
		return report, nil, &refused{ServerMismatch, errors.New("the host ID is not the one that the topic names")}
	}
	if len(report.Observed.Receipt) == 0 || len(i.o.Keys) == 0 {
		return report, nil, nil
	}
	receipt, err := exchange.VerifyReceipt(i.o.Keys, report.Facts.HostID, report.Observed.Receipt)
	if err != nil {
		i.Refuse(envelope.Agent, BadReceipt, err)
		return report, nil, nil
	}
	return report, &receipt, nil
}
