package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/agent/internal/bms"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/signed"
)

const demoServers = "../../internal/bms/bmstest/testdata/servers-demo.csv"

// siteOptions are complete options in folders of the test's own.
func siteOptions(t *testing.T, name string) bmsServerOptions {
	t.Helper()
	dir := t.TempDir()
	key, err := signed.NewKey()
	require.NoError(t, err)
	keys, err := json.Marshal(signed.NewKeySet(key.Public()))
	require.NoError(t, err)
	o := bmsServerOptions{
		data: filepath.Join(dir, "data"), listen: "127.0.0.1:0", servers: demoServers, site: name,
		keys: filepath.Join(dir, "keys.json"), ready: filepath.Join(dir, "ready.json"),
	}
	require.NoError(t, os.WriteFile(o.keys, keys, 0o600))
	return o
}

func (o bmsServerOptions) args() []string {
	return []string{
		"bms-server", "--data", o.data, "--listen", o.listen, "--servers", o.servers, "--site", o.site,
		"--activation-keys", o.keys, "--ready-file", o.ready,
	}
}

func serveSite(t *testing.T, o bmsServerOptions) (*site, siteReady) {
	t.Helper()
	s, err := openSite(o, zerolog.Nop())
	require.NoError(t, err)
	ready, err := s.ready()
	require.NoError(t, err)
	return s, ready
}

// reach asks a system as an agent would: with what the ready file says.
func reach(t *testing.T, system systemReady) []bms.Facts {
	t.Helper()
	trust, err := os.ReadFile(system.Trust)
	require.NoError(t, err)
	driver, err := bms.NewREST(bms.Options{Address: system.Address, Trust: trust})
	require.NoError(t, err)
	defer driver.Close()
	facts, err := driver.Servers(t.Context())
	require.NoError(t, err)
	return facts
}

func TestEverySystemOfASiteIsServed(t *testing.T) {
	s, ready := serveSite(t, siteOptions(t, "campus"))
	require.Len(t, ready.Systems, 4)
	require.Equal(t, ready.Listen, ready.Systems[0].Address)
	for _, system := range ready.Systems {
		require.True(t, filepath.IsAbs(system.Trust))
		facts := reach(t, system)
		require.Len(t, facts, 1)
		require.Equal(t, system.Name, facts[0].Name)
		require.EqualValues(t, system.HostID, facts[0].HostID)
		require.Equal(t, []string{system.HostID}, system.Servers)
	}
	require.NoError(t, s.close())
}

func TestAfterARestartEverythingIsAsBefore(t *testing.T) {
	o := siteOptions(t, "hq")
	s, first := serveSite(t, o)
	host := bms.HostID(first.Systems[0].HostID)
	require.NoError(t, s.systems[0].Tamper(host, "DEMO-1", 3))
	before := reach(t, first.Systems[0])
	require.NoError(t, s.close())

	s, second := serveSite(t, o)
	require.Equal(t, first.Systems[0].Trust, second.Systems[0].Trust)
	require.Equal(t, first.Systems[0].Servers, second.Systems[0].Servers)
	after := reach(t, second.Systems[0])
	require.Equal(t, []bms.HeldRight{{ActivationID: "DEMO-1", Count: 3}}, after[0].Rights)
	require.Equal(t, before[0].Certificate, after[0].Certificate)
	require.Len(t, after, 6)
	require.NoError(t, s.close())
}

func TestBMSServerWritesItsReadyFileAndEndsCleanly(t *testing.T) {
	o := siteOptions(t, "hq")
	require.NoError(t, os.WriteFile(o.ready, []byte("of an earlier process"), 0o600))
	ctx, end := context.WithCancel(t.Context())
	defer end()
	var stdout, stderr bytes.Buffer
	code := make(chan int, 1)
	go func() { code <- run(ctx, o.args(), &stdout, &stderr) }()
	var ready siteReady
	require.Eventually(t, func() bool {
		data, err := os.ReadFile(o.ready)
		return err == nil && json.Unmarshal(data, &ready) == nil
	}, 20*time.Second, 5*time.Millisecond)
	require.Equal(t, os.Getpid(), ready.PID)
	require.Len(t, ready.Systems, 1)
	require.Len(t, reach(t, ready.Systems[0]), 6)
	end()
	require.Equal(t, exitDone, <-code, stderr.String())
	require.NoFileExists(t, o.ready)
	require.Empty(t, stdout.String())
}

func TestWhatKeepsBMSServersFromStarting(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, taken.Close()) }()
	write := func(t *testing.T, text string) string {
		path := filepath.Join(t.TempDir(), "file")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	for name, c := range map[string]struct {
		edit func(*testing.T, *bmsServerOptions)
		code int
		want []string
	}{
		"unknown site": {func(_ *testing.T, o *bmsServerOptions) { o.site = "moon" }, exitRefused, []string{
			`licet-sim: read the servers: ` + demoServers + ` has no site "moon"`, "hint: its sites are: campus, ",
		}},
		"no site": {func(_ *testing.T, o *bmsServerOptions) { o.site = "" }, exitUsage, []string{"--site is missing"}},
		"port taken": {func(_ *testing.T, o *bmsServerOptions) { o.listen = taken.Addr().String() }, exitFailed, []string{
			"address already in use", "hint: choose a free address with --listen",
		}},
		"no port": {func(_ *testing.T, o *bmsServerOptions) { o.listen = "127.0.0.1" }, exitFailed, []string{"missing port in address"}},
		"data is a file": {func(t *testing.T, o *bmsServerOptions) { o.data = write(t, "x") }, exitFailed, []string{
			"open the data folder", "hint: name a folder that this user can write with --data",
		}},
		"no servers file": {func(_ *testing.T, o *bmsServerOptions) { o.servers = "/nowhere.csv" }, exitFailed, []string{"/nowhere.csv"}},
		"bad rows": {func(t *testing.T, o *bmsServerOptions) {
			o.servers = write(t, "name,type,role,parent,site,version,host_id,host_id_type,required_devices\nA,,boss,,s,7,H,,0\n")
		}, exitRefused, []string{"row 2: type is missing", "row 2: role is", "hint: correct the rows"}},
		"no keys": {func(_ *testing.T, o *bmsServerOptions) { o.keys = "/nowhere.json" }, exitFailed, []string{
			"read the activation server's keys", "hint: fetch them from the activation server: curl $LAS/v1/keys > /nowhere.json",
		}},
		"keys that are none": {func(t *testing.T, o *bmsServerOptions) { o.keys = write(t, "{}") }, exitFailed, []string{"it holds no key"}},
		"ready file nowhere": {func(_ *testing.T, o *bmsServerOptions) { o.ready = "/nowhere/ready.json" }, exitFailed, []string{
			"write the ready file", "hint: name a file that this user can write with --ready-file",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			o := siteOptions(t, "campus")
			c.edit(t, &o)
			var stdout, stderr bytes.Buffer
			require.Equal(t, c.code, run(t.Context(), o.args(), &stdout, &stderr), stderr.String())
			for _, part := range c.want {
				require.Contains(t, stderr.String(), part)
			}
			require.NoFileExists(t, o.ready)
		})
	}
}

func TestASecondProcessIsKeptOutOfTheDataFolder(t *testing.T) {
	o := siteOptions(t, "hq")
	s, _ := serveSite(t, o)
	var stdout, stderr bytes.Buffer
	require.Equal(t, exitFailed, run(t.Context(), o.args(), &stdout, &stderr))
	require.Contains(t, stderr.String(), "hint: end the other BMS servers")
	require.NoError(t, s.close())
}

func TestFurtherSystemsTakeTheNextPorts(t *testing.T) {
	for _, c := range []struct {
		listen string
		index  int
		want   string
	}{{"127.0.0.1:0", 3, "127.0.0.1:0"}, {"127.0.0.1:4440", 0, "127.0.0.1:4440"}, {"[::1]:4440", 2, "[::1]:4442"}} {
		address, err := nth(c.listen, c.index)
		require.NoError(t, err)
		require.Equal(t, c.want, address)
	}
	_, err := nth("127.0.0.1:https", 0)
	require.Error(t, err)
}

func TestTheSimulatorsActivationIDsStayOutOfItsLog(t *testing.T) {
	o := siteOptions(t, "hq")
	var log bytes.Buffer
	s, err := openSite(o, zerolog.New(&log))
	require.NoError(t, err)
	ready, err := s.ready()
	require.NoError(t, err)
	trust, err := os.ReadFile(ready.Systems[0].Trust)
	require.NoError(t, err)
	driver, err := bms.NewREST(bms.Options{Address: ready.Listen, Trust: trust})
	require.NoError(t, err)
	defer driver.Close()
	host := bms.HostID(ready.Systems[0].HostID)
	require.NoError(t, os.RemoveAll(o.data)) // every write fails from now on
	for i := range 3 {
		_, err = driver.CreateRequest(t.Context(), host, exchange.Order{Epoch: 1},
			[]exchange.Right{{ActivationID: exchange.ActivationID("SECRET-" + strconv.Itoa(i)), Count: 1}})
		require.Error(t, err)
		require.NotContains(t, err.Error(), "SECRET")
	}
	require.NotEmpty(t, log.String())
	require.NotContains(t, log.String(), "SECRET")
	require.NoError(t, s.close())
}
