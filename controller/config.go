package controller

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"meshlab.dev/meshlab/controller/mesh"
	"meshlab.dev/meshlab/controller/pipeline"
)

// DefaultDrain is how long a deregistered instance keeps its connections
// when the configuration does not say.
const DefaultDrain = Duration(10 * time.Minute)

// FileConfig is the configuration of a controller that runs as a process of
// its own, as JSON.
type FileConfig struct {
	Fabric    pipeline.Fabric `json:"fabric"`
	Datapaths []Datapath      `json:"datapaths"`
	Consul    *Consul         `json:"consul,omitempty"` // none: no services, plain switching and ARP
	Status    string          `json:"status,omitempty"` // path of the unix socket for status; none: no status
	Drain     Duration        `json:"drain,omitempty"`  // DefaultDrain when not given
}

// Datapath is one switch and how to reach it.
type Datapath struct {
	pipeline.Datapath
	Address string `json:"address"` // for Config.Connect, such as the path of a unix socket
}

// Consul says where Consul's HTTP API is.
type Consul struct {
	Address string `json:"address"` // unix:///run/consul.sock, or 127.0.0.1:8500
}

// Duration is a time.Duration that is written "10m" in JSON.
type Duration time.Duration

// MarshalText writes the duration as time.Duration prints it.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what time.ParseDuration reads; negative is an error.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("read duration: %w", err)
	}
	if v < 0 {
		return fmt.Errorf("read duration %s: it is negative", text)
	}
	*d = Duration(v)
	return nil
}

// LoadConfig reads and validates a configuration file. Unknown keys are
// errors.
func LoadConfig(path string) (FileConfig, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return FileConfig{}, fmt.Errorf("read controller configuration: %w", err)
	}
	c, err := parseConfig(text)
	if err != nil {
		return FileConfig{}, fmt.Errorf("read controller configuration %s: %w", path, err)
	}
	return c, nil
}

func parseConfig(text []byte) (FileConfig, error) {
	c := FileConfig{Drain: DefaultDrain}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&c); err != nil {
		return FileConfig{}, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return FileConfig{}, errors.New("there is more behind the configuration; one object is expected")
	}
	errs := []error{validate(c.Fabric, c.Datapaths)}
	if c.Consul != nil && c.Consul.Address == "" {
		errs = append(errs, errors.New("consul has no address; write unix:///path or host:port"))
	}
	return c, errors.Join(errs...)
}

// validate tells what would keep the datapaths from being compiled.
func validate(f pipeline.Fabric, dps []Datapath) error {
	var errs []error
	if len(dps) == 0 {
		errs = append(errs, errors.New("there is no datapath; list at least one"))
	}
	seen := map[string]bool{}
	for _, dp := range dps {
		if dp.Address == "" {
			errs = append(errs, fmt.Errorf("datapath %s has no address", dp.Name))
		}
		if seen[dp.Name] {
			errs = append(errs, fmt.Errorf("datapath %s is listed twice", dp.Name))
		}
		seen[dp.Name] = true
		if _, err := pipeline.Compile(f, dp.Datapath, mesh.Snapshot{}); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
