package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"meshlab.dev/meshlab/scenarios/attribution"
)

// tapStopLimit is how long a lab may take to answer that taps are off.
const tapStopLimit = 5 * time.Second

// Tap listens to all that passes the ports of the lab while fn runs, and
// returns it. The taps are off again when Tap returns, and also when this
// program ends before that. An error of fn is returned as it is.
func (c *Client) Tap(ctx context.Context, fn func(context.Context) error) (attribution.Capture, error) {
	var all attribution.Capture
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	resp, err := c.do(ctx, http.MethodPost, "/taps", nil)
	if err != nil {
		return all, fmt.Errorf("turn taps on: %w", err)
	}
	defer resp.Body.Close()
	in := json.NewDecoder(resp.Body)
	var first tapLine
	if err := in.Decode(&first); err != nil {
		return all, fmt.Errorf("turn taps on: read answer: %w", err)
	}
	all.Ports = first.Ports
	failed := fn(ctx)
	// Also when fn failed or ctx is done: whoever is next need not wait for the
	// lab to notice.
	last, done := context.WithTimeout(context.WithoutCancel(ctx), tapStopLimit)
	defer done()
	stopped, err := c.do(last, http.MethodDelete, "/taps", nil)
	if err == nil {
		stopped.Body.Close()
	}
	if failed != nil {
		return all, failed
	}
	// Taps that have ended by themselves say why.
	if err := readTaps(in, &all); err != nil {
		return all, fmt.Errorf("read taps: %w", err)
	}
	if err != nil {
		return all, fmt.Errorf("turn taps off: %w", err)
	}
	return all, nil
}

// readTaps reads the lines behind the first.
func readTaps(in *json.Decoder, all *attribution.Capture) error {
	for {
		var line tapLine
		if err := in.Decode(&line); err != nil {
			return err
		}
		switch {
		case line.Packet != nil:
			all.Packets = append(all.Packets, *line.Packet)
		case line.End == nil:
			return errors.New("a line says nothing")
		case line.End.Error != "":
			return errors.New(line.End.Error)
		case line.End.Packets != len(all.Packets):
			return fmt.Errorf("%d packets of %d came", len(all.Packets), line.End.Packets)
		default:
			all.Dropped = line.End.Dropped
			return nil
		}
	}
}
