package metrics

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Config is what an Exporter needs.
type Config struct {
	Traffic *Accumulator
	Loop    Loop
	// Refresh reads the counters of the switches again, when they are too old
	// for a scrape. What cannot be read stays as it was.
	Refresh func(ctx context.Context)
	Logger  *slog.Logger // nil: silent
}

// Exporter is the page that Prometheus scrapes. It has a registry of its own.
type Exporter struct {
	cfg         Config
	registry    *prometheus.Registry
	convergence *prometheus.HistogramVec
}

// NewExporter makes the page, or says what Config lacks.
func NewExporter(cfg Config) (*Exporter, error) {
	if cfg.Traffic == nil || cfg.Loop == nil || cfg.Refresh == nil {
		return nil, errors.New("make exporter: Traffic, Loop and Refresh are needed")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	e := &Exporter{cfg: cfg, registry: prometheus.NewRegistry(), convergence: newConvergence()}
	e.registry.MustRegister(
		e.convergence,
		newLoopCollector(cfg.Loop),
		newTrafficCollector(cfg.Traffic),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return e, nil
}

// Converged notes that a switch has confirmed a snapshot that is that old.
func (e *Exporter) Converged(datapath string, took time.Duration) {
	e.convergence.WithLabelValues(datapath).Observe(took.Seconds())
}

// refreshLimit leaves most of Prometheus' usual 10 s for the page itself.
const refreshLimit = 2 * time.Second

// Handler answers GET /metrics, in the text format or that of OpenMetrics.
func (e *Exporter) Handler() http.Handler {
	page := promhttp.HandlerFor(e.registry, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(e.cfg.Logger.Handler(), slog.LevelError),
		MaxRequestsInFlight: 4,
		EnableOpenMetrics:   true,
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), refreshLimit)
		e.cfg.Refresh(ctx)
		cancel()
		page.ServeHTTP(w, r)
	})
}

// trafficCollector turns the totals into metrics.
type trafficCollector struct {
	traffic  *Accumulator
	families []family
	read     *prometheus.Desc
}

func newTrafficCollector(traffic *Accumulator) *trafficCollector {
	return &trafficCollector{traffic, families(),
		prometheus.NewDesc("meshlab_counters_read_timestamp_seconds", "When the flow counters of the switch were last read, in seconds since 1970.", []string{"datapath"}, nil)}
}

// Describe implements prometheus.Collector.
func (c *trafficCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.read
	for _, f := range c.families {
		ch <- f.desc
	}
}

// Collect implements prometheus.Collector.
func (c *trafficCollector) Collect(ch chan<- prometheus.Metric) {
	all, reads := c.traffic.totals()
	for _, f := range c.families {
		f.collect(all, reads, ch)
	}
	for _, r := range reads {
		if !r.last.IsZero() {
			ch <- prometheus.MustNewConstMetric(c.read, prometheus.GaugeValue, float64(r.last.UnixMilli())/1000, r.datapath)
		}
	}
}
