package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/licet-project/licet/agent/internal/bms/bmstest"
	"github.com/licet-project/licet/shared/protocol"
	"github.com/licet-project/licet/shared/signed"
)

type bmsServerOptions struct {
	data, listen, servers, site, keys, ready string
}

func bmsServerCommand() *cobra.Command {
	var o bmsServerOptions
	cmd := &cobra.Command{
		Use:   "bms-server",
		Short: "Run every simulated system of a site",
		Long: "Run every simulated system of a site in one process: a top server with the servers below it each, with trusted\n" +
			"stores in the data folder, where a kill at any instant leaves them whole. The first system listens on --listen,\n" +
			"further ones on the next ports, or on free ones if that is 0. The simulator's own API is under /sim/v1.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := required(cmd, "data", "listen", "servers", "site", "activation-keys"); err != nil {
				return err
			}
			return runBMSServer(cmd.Context(), o, logger(cmd))
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.data, "data", "", "folder for keys, certificates and trusted stores")
	flags.StringVar(&o.listen, "listen", "127.0.0.1:0", "address of the first system; port 0 takes a free one")
	flags.StringVar(&o.servers, "servers", "", "the servers and who is below whom (CSV)")
	flags.StringVar(&o.site, "site", "", "the site whose systems run here")
	flags.StringVar(&o.keys, "activation-keys", "", "file with the activation server's keys: what GET /v1/keys answers")
	flags.StringVar(&o.ready, "ready-file", "", "file that appears once they serve: pid, listen and the systems, as JSON")
	return cmd
}

func runBMSServer(ctx context.Context, o bmsServerOptions, log zerolog.Logger) (err error) {
	if err := removeReady(o.ready); err != nil {
		return failed(startingBMS, err, readyHint)
	}
	site, err := openSite(o, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, site.close()) }()
	ready, err := site.ready()
	if err != nil {
		return failed(startingBMS, err, "")
	}
	if err := writeReady(o.ready, ready); err != nil {
		return failed(startingBMS, err, readyHint)
	}
	defer func() { err = errors.Join(err, removeReady(o.ready)) }()
	for _, system := range ready.Systems {
		log.Info().Str("listen", system.Address).Str("system", system.Name).Int("servers", len(system.Servers)).Msg("system serves")
	}
	<-ctx.Done()
	log.Info().Msg("systems ended")
	return nil
}

const (
	startingBMS = "start the BMS servers"
	readyHint   = "name a file that this user can write with --ready-file"
)

// site is the running systems of one site.
type site struct {
	groups  []bmstest.Group
	systems []*bmstest.System
	unlock  func() error
}

// openSite opens and serves every system of the site, or nothing.
func openSite(o bmsServerOptions, log zerolog.Logger) (_ *site, err error) {
	groups, err := readSite(o.servers, o.site)
	if err != nil {
		return nil, err
	}
	keys, err := readActivationKeys(o.keys)
	if err != nil {
		return nil, failed(startingBMS, err, "fetch them from the activation server: curl $LAS/v1/keys > "+o.keys)
	}
	s := &site{groups: groups}
	if s.unlock, err = lockFolder(o.data); err != nil {
		return nil, failed(startingBMS, err, dataFolderHint(err))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	for i, group := range groups {
		folder := filepath.Join(o.data, protocol.ServerName(string(group.Servers[0].HostID)))
		system, err := bmstest.New(bmstest.Options{Dir: folder, Servers: group.Servers, Keys: keys, Logger: log})
		if err != nil {
			return nil, failed(startingBMS, err, dataFolderHint(err))
		}
		address, err := nth(o.listen, i)
		if err == nil {
			err = system.Start(address)
		}
		if err != nil {
			return nil, failed(startingBMS, err, "choose a free address with --listen; 127.0.0.1:0 takes free ports")
		}
		s.systems = append(s.systems, system)
	}
	return s, nil
}

func (s *site) close() error {
	var errs []error
	for _, system := range s.systems {
		errs = append(errs, system.Close())
	}
	return errors.Join(append(errs, s.unlock())...)
}

// siteReady is the ready file.
type siteReady struct {
	PID     int           `json:"pid"`
	Listen  string        `json:"listen"` // the first system's
	Systems []systemReady `json:"systems"`
}

type systemReady struct {
	Name    string   `json:"name"` // the top server's
	HostID  string   `json:"host_id"`
	Address string   `json:"address"`
	Trust   string   `json:"trust"` // absolute path of the certificate that agents trust, PEM
	Servers []string `json:"servers"`
}

func (s *site) ready() (siteReady, error) {
	ready := siteReady{PID: os.Getpid(), Listen: s.systems[0].URL()}
	for i, system := range s.systems {
		trust, err := system.TrustFile()
		if err != nil {
			return ready, err
		}
		one := systemReady{Name: s.groups[i].Name, HostID: string(system.Top()), Address: system.URL(), Trust: trust}
		for _, host := range system.Hosts() {
			one.Servers = append(one.Servers, string(host))
		}
		ready.Systems = append(ready.Systems, one)
	}
	return ready, nil
}

// readSite reads the systems of the site from the inventory.
func readSite(path, name string) ([]bmstest.Group, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, failed("read the servers", err, "name the file with --servers")
	}
	inventory, err := bmstest.ParseInventory(data)
	if err != nil {
		return nil, refused("read the servers", fmt.Errorf("%s:\n%w", path, err), "correct the rows named above")
	}
	groups := inventory.Systems(name)
	if len(groups) == 0 {
		return nil, refused("read the servers", fmt.Errorf("%s has no site %q", path, name),
			"its sites are: "+strings.Join(inventory.Sites(), ", "))
	}
	return groups, nil
}

func readActivationKeys(path string) (signed.KeySet, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the activation server's keys: %w", err)
	}
	var keys signed.KeySet
	if err := json.Unmarshal(data, &keys); err != nil {
		return nil, fmt.Errorf("read the activation server's keys: %s: %w", path, err)
	}
	return keys, nil
}

// nth is the address of the system with this index: port 0 stays 0, others count up.
func nth(listen string, index int) (string, error) {
	host, text, err := net.SplitHostPort(listen)
	if err != nil {
		return "", err
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return "", fmt.Errorf("the port of %s is not a number", listen)
	}
	if port != 0 {
		port += index
	}
	return net.JoinHostPort(host, strconv.Itoa(port)), nil
}

func dataFolderHint(err error) string {
	if errors.Is(err, errInUse) {
		return "end the other BMS servers, or name another folder with --data"
	}
	return "name a folder that this user can write with --data"
}
