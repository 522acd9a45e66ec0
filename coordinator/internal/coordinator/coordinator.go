// Package coordinator wires a coordinator and keeps it running: database, broker, ingest, dispatch, API. No rule of
// licensing is in here.
package coordinator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/rs/zerolog"

	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/signed"
)

// Options of Run.
type Options struct {
	Data     string // folder of everything that is kept; made if it is not there
	Database string // postgres://...; empty: a file in Data

	HTTP    string // address of the API and the status page; port 0: any free one
	MQTT    string // address of the broker
	Metrics string // address of health and metrics; empty: 127.0.0.1:0

	ActivationServer string // URL; empty: nobody can be asked what a host holds
	ActivationKeys   string // file with its public keys, as GET /v1/keys answers them; goes with ActivationServer

	ReadyFile string        // written once everything serves; empty: none
	Heartbeat time.Duration // how often an agent says that it lives; 0: one minute
	Version   string
	Logger    zerolog.Logger
}

// DatabaseFile is the name of the database in the data folder.
const DatabaseFile = "licet.db"

func dsn(data, database string) string {
	if database != "" {
		return database
	}
	return filepath.Join(data, DatabaseFile)
}

// hinted is an error with what a person can do next.
type hinted struct {
	err  error
	hint string
}

func (h *hinted) Error() string { return h.err.Error() }
func (h *hinted) Unwrap() error { return h.err }
func (h *hinted) Hint() string  { return h.hint }

// Run serves until ctx ends, and returns after everything that it started has ended.
func Run(ctx context.Context, o Options) (err error) {
	if o.Heartbeat == 0 {
		o.Heartbeat = time.Minute
	}
	if o.Metrics == "" {
		o.Metrics = "127.0.0.1:0"
	}
	keys, err := readKeys(o.ActivationKeys)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(o.Data, 0o700); err != nil {
		return &hinted{fmt.Errorf("make the data folder: %w", err), "choose a folder that this user can write to, with --data"}
	}
	release, err := lockFolder(o.Data)
	if err != nil {
		return err
	}
	defer release()
	removeReady(o.ReadyFile)
	defer removeReady(o.ReadyFile)
	d, err := db.Open(ctx, dsn(o.Data, o.Database), db.Options{Logger: o.Logger})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()

	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	p := parts{o: o, db: d, keys: keys, registry: registry}
	if o.ActivationServer != "" {
		p.activation = &exchange.Client{Base: o.ActivationServer}
	}
	return p.serve(ctx)
}

func readKeys(path string) (signed.KeySet, error) {
	if path == "" {
		return nil, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, &hinted{fmt.Errorf("read the activation server's keys: %w", err), "save what GET /v1/keys answers, and name the file with --activation-keys"}
	}
	var keys signed.KeySet
	if err := json.Unmarshal(data, &keys); err != nil {
		return nil, &hinted{fmt.Errorf("read the activation server's keys in %s: %w", path, err), "save what GET /v1/keys answers"}
	}
	return keys, nil
}

// Ready is what the ready file says.
type Ready struct {
	PID     int    `json:"pid"`
	HTTP    string `json:"http"`
	MQTT    string `json:"mqtt"`
	Metrics string `json:"metrics"`
}

// removeReady takes away what an earlier start left: who waits for the file must not read yesterday's addresses.
func removeReady(path string) {
	if path != "" {
		_ = os.Remove(path) // it may not be there
	}
}

// errInUse means that another coordinator has the data folder: its broker would never hear what this one claims.
var errInUse = errors.New("another coordinator uses it")

// lockFolder keeps every other coordinator out of the folder until release is called, or this process ends.
func lockFolder(dir string) (release func(), err error) {
	file, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, &hinted{fmt.Errorf("lock the data folder: %w", err), "choose a folder that this user can write to, with --data"}
	}
	if err := lock(file); err != nil {
		return nil, errors.Join(&hinted{fmt.Errorf("lock the data folder %s: %w", dir, err), "end the other coordinator, or choose another folder with --data"}, file.Close())
	}
	return func() { _ = file.Close() }, nil
}

// writeReady writes the file whole or not at all: who waits for it never reads a half.
func writeReady(path string, r Ready) error {
	if path == "" {
		return nil
	}
	data, err := json.Marshal(r)
	if err == nil {
		err = os.WriteFile(path+".part", append(data, '\n'), 0o600)
	}
	if err == nil {
		err = os.Rename(path+".part", path)
	}
	if err != nil {
		return &hinted{fmt.Errorf("write the ready file: %w", err), "choose a path that this user can write to, with --ready-file"}
	}
	return nil
}
