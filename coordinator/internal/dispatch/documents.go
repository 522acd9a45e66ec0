package dispatch

import (
	"context"
	"fmt"
	"slices"

	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/coordinator/internal/ledger"
	"github.com/licet-project/licet/shared/crash"
)

// claim takes the newest documents of the servers for publication, publishes them, and sees to adoptions and releases.
func (d *Dispatch) claim(ctx context.Context, servers []string) error {
	slices.Sort(servers)
	for batch := range slices.Chunk(servers, claimBatch) {
		var documents []ledger.Document
		err := d.o.DB.Update(ctx, func(tx *db.Tx) error {
			documents = nil // the function may run again
			if _, err := ledger.EnsureServers(tx, batch...); err != nil {
				return err
			}
			for _, server := range batch {
				document, claimed, err := ledger.Claim(tx, server)
				if err != nil {
					return err
				}
				if claimed {
					documents = append(documents, document)
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("claim documents: %w", err)
		}
		if len(documents) == 0 {
			continue
		}
		// A crash here: the documents count as exposed, nobody has them. They are published after the start.
		crash.At("dispatch.claimed")
		if err := d.publish(ctx, documents); err != nil {
			return err
		}
		// A crash here: the broker's memory is gone with the process, or has them already. They are published again.
		crash.At("dispatch.published")
	}
	return d.seeTo(ctx)
}

// republish publishes every document that was ever claimed.
func (d *Dispatch) republish(ctx context.Context) error {
	for after := ""; ; {
		var documents []ledger.Document
		err := d.o.DB.View(ctx, func(tx *db.Tx) (err error) {
			documents, err = ledger.ClaimedDocuments(tx, after, claimBatch)
			return err
		})
		if err != nil {
			return fmt.Errorf("read claimed documents: %w", err)
		}
		if len(documents) == 0 {
			return nil
		}
		if err := d.publish(ctx, documents); err != nil {
			return err
		}
		after = documents[len(documents)-1].Server
	}
}

func (d *Dispatch) publish(ctx context.Context, documents []ledger.Document) error {
	for _, document := range documents {
		if document.Left != nil {
			if err := d.o.Outbox.Publish(ctx, document.Left.String(), nil, true); err != nil {
				return fmt.Errorf("withdraw a document of %s: %w", document.Left.Server, err)
			}
		}
		if err := d.o.Outbox.Publish(ctx, document.Topic.String(), document.Payload, true); err != nil {
			return fmt.Errorf("publish a document of %s: %w", document.Topic.Server, err)
		}
		if !document.Release {
			continue
		}
		err := d.o.DB.Update(ctx, func(tx *db.Tx) error {
			return ledger.ReleasePublished(tx, document.Server, document.Generation)
		})
		if err != nil {
			return fmt.Errorf("note that a document of %s is retained: %w", document.Topic.Server, err)
		}
	}
	return nil
}
