package broker

import (
	"context"
	"log/slog"

	"github.com/rs/zerolog"
)

// redacting passes on what the library logs, without payloads: it logs whole packets, and what is in them may be secret.
// Anything short of an error is for those who debug: who connects and is refused is counted, and said by others.
type redacting struct{ next slog.Handler }

// harmless are the attributes that carry no bytes of a packet.
var harmless = map[string]bool{
	"client": true, "error": true, "hook": true, "keepalive": true, "listener": true, "remote": true,
	"old_remote": true, "new_remote": true, "version": true,
}

func (r redacting) Enabled(ctx context.Context, level slog.Level) bool {
	return r.next.Enabled(ctx, lowered(level))
}

func (r redacting) Handle(ctx context.Context, record slog.Record) error {
	plain := slog.NewRecord(record.Time, lowered(record.Level), record.Message, record.PC)
	record.Attrs(func(a slog.Attr) bool {
		if harmless[a.Key] {
			plain.AddAttrs(a)
		}
		return true
	})
	return r.next.Handle(ctx, plain)
}

func (r redacting) WithAttrs(attrs []slog.Attr) slog.Handler {
	var kept []slog.Attr
	for _, a := range attrs {
		if harmless[a.Key] {
			kept = append(kept, a)
		}
	}
	return redacting{r.next.WithAttrs(kept)}
}

func (r redacting) WithGroup(name string) slog.Handler { return redacting{r.next.WithGroup(name)} }

func lowered(level slog.Level) slog.Level {
	if level < slog.LevelError {
		return slog.LevelDebug
	}
	return level
}

var _ slog.Handler = (*zerolog.SlogHandler)(nil)
