package main

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the messages instead of comparing them")

func flagsOf(t *testing.T, args ...string) *pflag.FlagSet {
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	configFlags(flags)
	require.NoError(t, flags.Parse(args))
	return flags
}

func none() []string { return nil }

// Each file in testdata/bad has one kind of mistake; its message beside it is what a person sees, to the letter.
func TestBadConfig(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	require.NoError(t, err)
	require.Greater(t, len(files), 20)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			var stderr strings.Builder
			_, err := readConfig(flagsOf(t, "--config", file), none)
			require.Error(t, err)
			require.Equal(t, exitUsage, explain(&stderr, err))
			golden := strings.TrimSuffix(file, ".yaml") + ".txt"
			if *update {
				require.NoError(t, os.WriteFile(golden, []byte(stderr.String()), 0o644))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			require.Equal(t, string(want), stderr.String())
		})
	}
}

func TestGoodConfig(t *testing.T) {
	c, err := readConfig(flagsOf(t, "--config", "testdata/good.yaml"), none)
	require.NoError(t, err)
	require.Equal(t, "agent-hq", c.Agent)
	require.Equal(t, "tcp://127.0.0.1:1883", c.Broker)
	require.Equal(t, "data", c.Data)
	systems := c.systems()
	require.Len(t, systems, 2)
	require.Equal(t, "hq", systems[0].Name)
	require.Equal(t, "roof", systems[1].Name)
	require.NotNil(t, systems[1].Driver)
}

func TestSampleConfig(t *testing.T) {
	sample, err := os.ReadFile("../../../packaging/agent.yaml")
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "agent.yaml"), sample, 0o600))
	ca, err := os.ReadFile("testdata/ca.pem")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "bms-ca.pem"), ca, 0o600))
	c, err := readConfig(flagsOf(t, "--config", filepath.Join(dir, "agent.yaml")), none)
	require.NoError(t, err)
	require.Equal(t, defaultData, c.Data)
	require.Equal(t, defaultSystem, c.Systems[0].Name)
	for _, key := range []string{"agent:", "broker:", "data:", "systems:", "name:", "driver:", "address:", "trust:"} {
		require.Contains(t, string(sample), key, "the sample explains every key")
	}
}

func TestFlagsOverEnvironmentOverFile(t *testing.T) {
	environment := func() []string {
		return []string{"LICET_AGENT=agent-env", "LICET_DATA=/env", "LICET_BROKER=", "LICET_CRASH=x", "LICET_SYSTEMS=y", "AGENT=z"}
	}
	c, err := readConfig(flagsOf(t, "--config", "testdata/good.yaml", "--data", "/flag"), environment)
	require.NoError(t, err)
	require.Equal(t, "agent-env", c.Agent)
	require.Equal(t, "/flag", c.Data)
	require.Equal(t, "tcp://127.0.0.1:1883", c.Broker, "an empty variable is none")

	_, err = readConfig(flagsOf(t, "--config", "testdata/bad/agent-missing.yaml", "--agent", "agent-flag"), none)
	require.NoError(t, err)
	_, err = readConfig(flagsOf(t, "--config", "testdata/good.yaml", "--broker", "nowhere"), none)
	require.ErrorContains(t, err, "broker: the broker's address")
}

func TestConfigThatCannotBeRead(t *testing.T) {
	_, err := readConfig(flagsOf(t, "--config", "testdata/none.yaml"), none)
	require.EqualError(t, err, "read testdata/none.yaml: open testdata/none.yaml: no such file or directory")
	large := filepath.Join(t.TempDir(), "large.yaml")
	require.NoError(t, os.WriteFile(large, make([]byte, maxConfig+1), 0o600))
	_, err = readConfig(flagsOf(t, "--config", large), none)
	require.ErrorContains(t, err, "more than 1048576 bytes")
}

func TestNearest(t *testing.T) {
	known := []string{"agent", "broker", "data", "systems"}
	for word, want := range map[string]string{
		"agnet": "agent", "Agent": "agent", "brokers": "broker", "system": "systems", "date": "data", "join_file": "", "": "", "authority": "",
	} {
		require.Equal(t, want, nearest(word, known), word)
	}
	require.Equal(t, 3, changes("kitten", "sitting"))
}
