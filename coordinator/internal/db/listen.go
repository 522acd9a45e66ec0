package db

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"
)

// listen wakes the readers of this process after commits of another one, until the context ends. It changes latency alone:
// what was missed while there was no connection is woken for as soon as there is one.
func listen(ctx context.Context, config *pgx.ConnConfig, wake func(), logger zerolog.Logger) {
	pause := time.Duration(0)
	for ctx.Err() == nil {
		began := time.Now()
		err := listenOnce(ctx, config, wake)
		if ctx.Err() != nil {
			return
		}
		logger.Warn().Err(err).Msg("listen for changes of other coordinators: connecting again")
		if time.Since(began) > time.Minute {
			pause = 0
		}
		pause = min(max(2*pause, 100*time.Millisecond), 10*time.Second)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

func listenOnce(ctx context.Context, config *pgx.ConnConfig, wake func()) error {
	conn, err := pgx.ConnectConfig(ctx, config.Copy())
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(closing)
	}()
	if _, err := conn.Exec(ctx, "LISTEN "+postgresChannel); err != nil {
		return err
	}
	for {
		wake()
		if _, err := conn.WaitForNotification(ctx); err != nil {
			return err
		}
	}
}
