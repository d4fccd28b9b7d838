package reports

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"

	"meshlab.dev/meshlab/scenarios"
)

// ErrNoResults tells that a page holds no results: it is not a report of
// meshlab, was cut off, or was served while its run still went on.
var ErrNoResults = errors.New("there are no results of meshlab in it")

// The results stand in the page as the address of a link, which a browser
// saves as a file without a script and without the network (RFC 2397).
const dataAddress = "data:application/gzip;base64,"

var embedded = regexp.MustCompile(`class="results" href="` + regexp.QuoteMeta(dataAddress) + `([A-Za-z0-9+/=]*)"`)

// The bounds of what Embedded reads, in bytes: pages are below 5 MB, and JSON
// of that size unpacks to some ten times as much.
const (
	maxPage    = 64 << 20
	maxResults = 512 << 20
)

// pack returns a result as gzipped JSON in base64.
func pack(r *scenarios.Result) (string, error) {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return "", err
	}
	if err := json.NewEncoder(z).Encode(r); err != nil {
		return "", fmt.Errorf("encode results: %w", err)
	}
	if err := z.Close(); err != nil {
		return "", fmt.Errorf("encode results: %w", err)
	}
	return base64.StdEncoding.EncodeToString(b.Bytes()), nil
}

// Embedded returns the results that a page of Write holds, validated. It
// returns ErrNoResults for other files, and the errors of scenarios.Read for
// results that are damaged or too new.
func Embedded(page io.Reader) ([]*scenarios.Result, error) {
	body, err := io.ReadAll(io.LimitReader(page, maxPage+1))
	if err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	if len(body) > maxPage {
		return nil, fmt.Errorf("read report: it is larger than %d MiB", maxPage>>20)
	}
	var all []*scenarios.Result
	for _, m := range embedded.FindAllSubmatch(body, -1) {
		z, err := gzip.NewReader(base64.NewDecoder(base64.StdEncoding, bytes.NewReader(m[1])))
		if err != nil {
			return nil, fmt.Errorf("read report: unpack results: %w", err)
		}
		unpacked := &io.LimitedReader{R: z, N: maxResults + 1}
		r, err := scenarios.Read(unpacked)
		if unpacked.N <= 0 {
			return nil, fmt.Errorf("read report: unpack results: they are larger than %d MiB", maxResults>>20)
		}
		if err != nil {
			return nil, fmt.Errorf("read report: %w", err)
		}
		all = append(all, r)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("read report: %w", ErrNoResults)
	}
	return all, nil
}
