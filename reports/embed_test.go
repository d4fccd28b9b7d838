package reports

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"meshlab.dev/meshlab/reports/internal/sample"
	"meshlab.dev/meshlab/scenarios"
)

// page renders results without drawing: what a live page leaves out is what
// takes long.
func page(t testing.TB, opt Options, results ...*scenarios.Result) string {
	t.Helper()
	var b bytes.Buffer
	if err := Page(t.Context(), &b, results, opt); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestEmbedded(t *testing.T) {
	a, b := sample.Result(sample.Small, sample.OnlyCells), sample.Result(sample.Nothing)
	b.ID = "20260302T120000Z-00000001"
	html := page(t, Options{}, a, b)
	got, err := Embedded(strings.NewReader(html))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || !reflect.DeepEqual(got[0].Cells, a.Cells) || got[1].ID != b.ID {
		t.Errorf("the page holds %d results, and not those given", len(got))
	}
	whole := strings.Index(html, dataAddress) + len(dataAddress)
	for name, tt := range map[string]struct {
		page string
		is   error
		want string
	}{
		"empty":        {"", ErrNoResults, "no results"},
		"another page": {"<html><a href=\"data:application/gzip;base64,AAAA\">x</a></html>", ErrNoResults, "no results"},
		"cut off":      {html[:whole+100], ErrNoResults, "no results"},
		"live":         {page(t, Options{Live: &Live{}}, a), ErrNoResults, "no results"},
		"damaged":      {html[:whole] + "AAAA" + html[whole+4:], nil, "unpack results"},
		"shortened":    {html[:whole+400] + html[strings.Index(html[whole:], `"`)+whole:], nil, "read report"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Embedded(strings.NewReader(tt.page))
			if err == nil || tt.is != nil && !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func FuzzEmbedded(f *testing.F) {
	packed, err := pack(sample.Result(sample.Nothing))
	if err != nil {
		f.Fatal(err)
	}
	link := `class="results" href="` + dataAddress
	f.Add([]byte(link + packed + `"`))
	f.Add([]byte(link + `H4sIAAAAAAAA"`))
	f.Add([]byte("<html>"))
	f.Fuzz(func(t *testing.T, page []byte) {
		results, err := Embedded(bytes.NewReader(page))
		if (err == nil) != (len(results) > 0) {
			t.Errorf("%d results and error %v", len(results), err)
		}
		for _, r := range results {
			if err := r.Validate(); err != nil {
				t.Errorf("a result that is not valid: %v", err)
			}
		}
	})
}

func TestLivePage(t *testing.T) {
	r := sample.Result(sample.Small)
	r.Finished = time.Time{}
	r.Duets[2].Comparisons = nil
	r.Duets[2].Trials = r.Duets[2].Trials[:2]
	html := page(t, Options{Live: &Live{Progress: "trial 3 of 30 <i>", Refresh: 10 * time.Second}}, r)
	wellFormed(t, "live page", []byte(html))
	for _, want := range []string{`http-equiv="refresh" content="10"`, "trial 3 of 30 &lt;i&gt;", "there are not enough trials yet", "0.6"} {
		if !strings.Contains(html, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(html, dataAddress) {
		t.Error("a page of a run that goes on holds its results")
	}
	if !r.Finished.IsZero() {
		t.Error("the result given was changed")
	}
	if over := page(t, Options{}, sample.Result(sample.Nothing)); strings.Contains(over, `http-equiv="refresh"`) {
		t.Error("the page of a run that is over loads itself again")
	}
}

// A document of version 1 has no paired trials, and still gives a page.
func TestOlderDocument(t *testing.T) {
	old := sample.Result(sample.Small, sample.OnlyCells)
	old.SchemaVersion, old.Scenarios = 1, nil
	body, err := json.Marshal(old)
	if err != nil {
		t.Fatal(err)
	}
	r, err := scenarios.Read(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	html := page(t, Options{}, r)
	wellFormed(t, "page", []byte(html))
	if !strings.Contains(html, "no confidence intervals and no verdict") {
		t.Error("the page does not say that it has no verdict")
	}
	if got, err := Embedded(strings.NewReader(html)); err != nil || len(got) != 1 {
		t.Errorf("read back from the page: %d results, %v", len(got), err)
	}
}
