package stats

import (
	"errors"
	"fmt"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The geometry of every histogram that is written: microseconds, with three
// significant digits, so a value read back is at most 0.1 % above the one
// recorded.
const (
	HDRLowestMicros  = 1
	HDRHighestMicros = 60_000_000
	hdrDigits        = 3
)

// ErrNoHistogram tells that there was nothing to decode or to merge.
var ErrNoHistogram = errors.New("no histogram")

// NewHDR returns an empty histogram for latencies in microseconds.
func NewHDR() *hdrhistogram.Histogram {
	return hdrhistogram.New(HDRLowestMicros, HDRHighestMicros, hdrDigits)
}

// EncodeHDR writes the histogram in the V2 compressed format of
// HdrHistogram, in base64.
func EncodeHDR(h *hdrhistogram.Histogram) (string, error) {
	b, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		return "", fmt.Errorf("encode HDR histogram: %w", err)
	}
	return string(b), nil
}

// DecodeHDR reads what EncodeHDR wrote. It returns ErrNoHistogram for an
// empty string.
func DecodeHDR(s string) (*hdrhistogram.Histogram, error) {
	if s == "" {
		return nil, ErrNoHistogram
	}
	h, err := hdrhistogram.Decode([]byte(s))
	if err != nil {
		return nil, fmt.Errorf("decode HDR histogram: %w", err)
	}
	return h, nil
}

// MergeHDR decodes all histograms and adds them up. Empty strings, as
// attempts without a single success have, add nothing. It returns
// ErrNoHistogram when nothing is left.
func MergeHDR(encoded ...string) (*hdrhistogram.Histogram, error) {
	sum := NewHDR()
	for i, s := range encoded {
		h, err := DecodeHDR(s)
		if errors.Is(err, ErrNoHistogram) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("histogram %d of %d: %w", i+1, len(encoded), err)
		}
		if dropped := sum.Merge(h); dropped > 0 {
			return nil, fmt.Errorf("merge histogram %d of %d: %d values lie above %d us",
				i+1, len(encoded), dropped, HDRHighestMicros)
		}
	}
	if sum.TotalCount() == 0 {
		return nil, ErrNoHistogram
	}
	return sum, nil
}
