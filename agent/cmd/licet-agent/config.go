package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"

	"github.com/licet-project/licet/agent/internal/agent"
	"github.com/licet-project/licet/agent/internal/bms"
	"github.com/licet-project/licet/shared/mqttconn"
	"github.com/licet-project/licet/shared/protocol"
)

// config is what agent.yaml says, with the environment and the flags on top. packaging/agent.yaml explains each key.
type config struct {
	Agent   string         // name of this agent; also LICET_AGENT, --agent
	Broker  string         // tcp://host:port of the coordinator's broker; also LICET_BROKER, --broker
	Data    string         // folder of everything that must survive; also LICET_DATA, --data
	Systems []systemConfig // at least one
}

// systemConfig is one entry of systems. A file that it names is found from the folder of agent.yaml.
type systemConfig struct {
	Name    string // local, if it is the only one
	Driver  string // rest, which is the default
	Address string // https://host[:port] of the top server
	Trust   string // file with the top server's certificate, or its authority's

	driver bms.System
}

// What a file may leave out.
const (
	defaultConfig = "/etc/licet/agent.yaml"
	defaultData   = "/var/lib/licet"
	defaultSystem = "local"
	driverREST    = "rest"

	maxConfig = 1 << 20 // bytes of agent.yaml and of a trust file
)

// scalars are the keys that are also flags and variables of the environment.
var scalars = [...]string{"agent", "broker", "data"}

// configFlags adds the flags that lie on top of the file.
func configFlags(flags *pflag.FlagSet) {
	flags.String("config", defaultConfig, "`file` that says what to look after")
	flags.String("agent", "", "`name` of this agent, instead of the file's")
	flags.String("broker", "", "`tcp://host:port` of the broker, instead of the file's")
	flags.String("data", "", "`folder` of everything that must survive, instead of the file's")
}

// readConfig reads the file that --config names, then the environment, then the flags. Every mistake is in the error.
func readConfig(flags *pflag.FlagSet, environ func() []string) (config, error) {
	path, err := flags.GetString("config")
	if err != nil {
		return config{}, err
	}
	k := koanf.New(".")
	if err := loadFile(k, path); err != nil {
		return config{}, configFailure(path, err)
	}
	if err := load(k, flags, environ); err != nil {
		return config{}, configFailure(path, err)
	}
	c, mistakes := decode(k.Raw())
	for _, m := range c.open(filepath.Dir(path)) {
		if !m.follows(mistakes) {
			mistakes = append(mistakes, m)
		}
	}
	if len(mistakes) > 0 {
		return config{}, configFailure(path, mistakes.error())
	}
	return c, nil
}

func configFailure(path string, err error) error {
	return &failure{exitUsage, fmt.Errorf("read %s: %w", path, err), "packaging/agent.yaml is a sample with every key explained"}
}

// content is a file's content as koanf wants it; koanf's own provider brings a file watcher along.
type content []byte

// ReadBytes is the content.
func (c content) ReadBytes() ([]byte, error) { return c, nil }

func (c content) Read() (map[string]any, error) { return nil, errors.New("a file is read as bytes") }

func loadFile(k *koanf.Koanf, path string) error {
	text, err := readLimited(path)
	if err != nil {
		return err
	}
	if err := k.Load(content(text), yaml.Parser()); err != nil {
		text := strings.TrimPrefix(strings.TrimPrefix(err.Error(), "yaml: "), "unmarshal errors:\n  ")
		if strings.Contains(text, "into map[string]interface") {
			text = "it should be keys with values"
		}
		return errors.New(text)
	}
	return nil
}

// load puts the environment and the flags that were given on top.
func load(k *koanf.Koanf, flags *pflag.FlagSet, environ func() []string) error {
	fromEnvironment := env.Provider(".", env.Opt{
		EnvironFunc: environ,
		TransformFunc: func(name, value string) (string, any) {
			for _, key := range scalars {
				if name == "LICET_"+strings.ToUpper(key) && value != "" {
					return key, value
				}
			}
			return "", nil
		},
	})
	if err := k.Load(fromEnvironment, nil); err != nil {
		return err
	}
	return k.Load(posflag.ProviderWithFlag(flags, ".", nil, func(f *pflag.Flag) (string, any) {
		for _, key := range scalars {
			if f.Name == key && f.Changed {
				return key, f.Value.String()
			}
		}
		return "", nil
	}), nil)
}

// open checks the values and makes the drivers; folder is where relative names begin.
func (c *config) open(folder string) (found mistakes) {
	say := found.say
	switch {
	case c.Agent == "":
		say("agent", "missing: the name under which the coordinator knows this agent")
	case !protocol.Identifier(c.Agent):
		say("agent", "%.50q is not one to %d of a-z, 0-9 and hyphen", c.Agent, protocol.MaxIdentifier)
	}
	if c.Broker == "" {
		say("broker", "missing: tcp://host:port of the coordinator's broker")
	} else if _, err := mqttconn.New(mqttconn.Options{Broker: c.Broker, ClientID: "x"}); err != nil {
		say("broker", "%v", err)
	}
	if c.Data == "" {
		c.Data = defaultData
	}
	if len(c.Systems) == 0 {
		say("systems", "missing: at least one system to look after")
	}
	names := make(map[string]bool)
	for i := range c.Systems {
		s, key := &c.Systems[i], fmt.Sprintf("systems[%d]", i)
		if s.Name == "" && len(c.Systems) == 1 {
			s.Name = defaultSystem
		}
		switch {
		case s.Name == "":
			say(key+".name", "missing: with several systems each needs a name")
		case !protocol.Identifier(s.Name):
			say(key+".name", "%.50q is not one to %d of a-z, 0-9 and hyphen", s.Name, protocol.MaxIdentifier)
		case names[s.Name]:
			say(key+".name", "another system is called %q too", s.Name)
		}
		names[s.Name] = true
		s.open(key, folder, say)
	}
	return found
}

func (s *systemConfig) open(key, folder string, say func(key, format string, args ...any)) {
	if s.Driver == "" {
		s.Driver = driverREST
	}
	if s.Driver != driverREST {
		say(key+".driver", "there is no driver %.50q; there is: %s", s.Driver, driverREST)
		return
	}
	if s.Address == "" {
		say(key+".address", "missing: https://host[:port] of the top server")
	} else if _, err := bms.NewREST(bms.Options{Address: s.Address, HTTP: &http.Client{}}); err != nil {
		say(key+".address", "%v", cause(err))
	}
	if s.Trust == "" {
		say(key+".trust", "missing: a file with the top server's certificate, or its authority's")
		return
	}
	if !filepath.IsAbs(s.Trust) {
		s.Trust = filepath.Join(folder, s.Trust)
	}
	trust, err := readLimited(s.Trust)
	if err != nil {
		say(key+".trust", "%v", err)
		return
	}
	if _, err := bms.NewREST(bms.Options{Address: "https://top", Trust: trust}); err != nil {
		say(key+".trust", "%v", cause(err))
		return
	}
	if driver, err := bms.NewREST(bms.Options{Address: s.Address, Trust: trust}); err == nil { // else it was said
		s.driver = driver
	}
}

// cause is the innermost text: what is being done is the key.
func cause(err error) string {
	text := err.Error()
	if inner := errors.Unwrap(err); inner != nil {
		return inner.Error()
	}
	return text[strings.LastIndex(text, "driver: ")+len("driver: "):]
}

func readLimited(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxConfig {
		return nil, fmt.Errorf("open %s: it has more than %d bytes", path, maxConfig)
	}
	return text, nil
}

// systems are those of the agent.
func (c *config) systems() []agent.System {
	out := make([]agent.System, len(c.Systems))
	for i, s := range c.Systems {
		out[i] = agent.System{Name: s.Name, Driver: s.driver}
	}
	return out
}
