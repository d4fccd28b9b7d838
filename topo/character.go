package topo

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Bounds of a link's character. Below MinBandwidth a frame of 1500 bytes takes
// over 1.5 s, and beyond MaxBandwidth no device of a lab could tell the
// difference. Every frame under way waits in memory, hence MaxDelay.
const (
	MinBandwidth = 8_000           // bits per second
	MaxBandwidth = 100_000_000_000 // bits per second
	MaxDelay     = 10 * time.Second
)

// NoLimit is the text of a bandwidth without a limit.
const NoLimit = "unlimited"

// bandwidthUnits are the rates of tc(8), section PARAMETERS: bits per second
// with decimal prefixes. Largest first, as FormatBandwidth wants it.
var bandwidthUnits = []struct {
	name string
	bits float64
}{{"Gbit", 1e9}, {"Mbit", 1e6}, {"kbit", 1e3}, {"bit", 1}}

var (
	amount     = regexp.MustCompile(`^([0-9]{1,12}(?:\.[0-9]{1,9})?) ?([A-Za-z%]+)$`)
	percentage = regexp.MustCompile(`^([0-9]{1,3}(?:\.[0-9]{1,9})?) ?%$`)
)

// ParseBandwidth reads a rate as in 100Mbit, 1.5Gbit, 64kbit or 9600bit, in
// bits per second; the case of the unit does not matter, as in tc(8). The
// word "unlimited" is 0, for no limit. It refuses rates below MinBandwidth
// and above MaxBandwidth.
func ParseBandwidth(s string) (uint64, error) {
	if s == NoLimit {
		return 0, nil
	}
	if m := amount.FindStringSubmatch(s); m != nil {
		for _, u := range bandwidthUnits {
			if !strings.EqualFold(u.name, m[2]) {
				continue
			}
			v, err := strconv.ParseFloat(m[1], 64)
			if bits := math.Round(v * u.bits); err == nil && bits >= MinBandwidth && bits <= MaxBandwidth {
				return uint64(bits), nil
			}
			return 0, fmt.Errorf("bandwidth %s must be %s to %s", quote(s), FormatBandwidth(MinBandwidth), FormatBandwidth(MaxBandwidth))
		}
	}
	return 0, fmt.Errorf("bandwidth %s must be a number and bit, kbit, Mbit or Gbit, as in 100Mbit", quote(s))
}

// FormatBandwidth is the text that ParseBandwidth reads as the rate, in the
// largest unit that is not above it.
func FormatBandwidth(bits uint64) string {
	if bits == 0 {
		return NoLimit
	}
	for _, u := range bandwidthUnits {
		if v := float64(bits) / u.bits; v >= 1 {
			return strconv.FormatFloat(v, 'f', -1, 64) + u.name
		}
	}
	return "" // bits is at least 1
}

// ParseDelay reads the delay or the jitter of a link: a duration of 0 to
// MaxDelay, as in 5ms or 250us.
func ParseDelay(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d > MaxDelay {
		return 0, fmt.Errorf("%s must be a duration from 0s to %s, as in 5ms or 250us", quote(s), MaxDelay)
	}
	return d, nil
}

// ParseLoss reads a share of frames as in 1% or 0.5%, and returns it as a
// probability, 0 to 1.
func ParseLoss(s string) (float64, error) {
	if m := percentage.FindStringSubmatch(s); m != nil {
		// e-2 instead of a division: the nearest number to what is written.
		if p, err := strconv.ParseFloat(m[1]+"e-2", 64); err == nil && p <= 1 {
			return p, nil
		}
	}
	return 0, fmt.Errorf("loss %s must be 0%% to 100%%, as in 1%% or 0.5%%", quote(s))
}

// FormatLoss is the text that ParseLoss reads as the probability.
func FormatLoss(p float64) string {
	// A percentage has at most nine decimals, and p twelve digits that count.
	s := strconv.FormatFloat(p*100, 'f', 9, 64)
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".") + "%"
}

// Check returns what is wrong with a character as a whole: jitter without a
// delay that is at least as long.
func (c Character) Check() error {
	switch {
	case c.Jitter > 0 && c.Delay == 0:
		return errors.New("jitter needs a delay, which it makes shorter or longer")
	case c.Jitter > c.Delay:
		return fmt.Errorf("jitter %s must be at most the delay, %s", c.Jitter, c.Delay)
	}
	return nil
}

// String says what the link does to frames, as in "100Mbit, 5ms ± 1ms, 1% lost".
// The zero Character is "as fast as the machine".
func (c Character) String() string {
	var parts []string
	if c.Bandwidth > 0 {
		parts = append(parts, FormatBandwidth(c.Bandwidth))
	}
	if c.Delay > 0 {
		d := c.Delay.String()
		if c.Jitter > 0 {
			d += " ± " + c.Jitter.String()
		}
		parts = append(parts, d)
	}
	if c.Loss > 0 {
		parts = append(parts, FormatLoss(c.Loss)+" lost")
	}
	if len(parts) == 0 {
		return "as fast as the machine"
	}
	return strings.Join(parts, ", ")
}

// character reads what a link says of itself.
func (b *builder) character(l fileLink) Character {
	var c Character
	var err error
	good := true
	read := func(q quantity, parse func(string) error) {
		if !q.set {
			return
		}
		if err := parse(string(q.val)); err != nil {
			b.addf(q.place, "%v", err)
			good = false
		}
	}
	delay := func(what string, into *time.Duration) func(string) error {
		return func(s string) error {
			if *into, err = ParseDelay(s); err != nil {
				return fmt.Errorf("%s %w", what, err)
			}
			return nil
		}
	}
	read(l.Bandwidth, func(s string) error { c.Bandwidth, err = ParseBandwidth(s); return err })
	read(l.Delay, delay("delay", &c.Delay))
	read(l.Jitter, delay("jitter", &c.Jitter))
	read(l.Loss, func(s string) error { c.Loss, err = ParseLoss(s); return err })
	if good {
		if err := c.Check(); err != nil {
			b.addf(l.Jitter.place, "%v", err)
		}
	}
	return c
}
