package spans

import (
	"context"
	"log/slog"
	"sync/atomic"

	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// exporter gives each span the resource of its caller, counts, and logs the
// first failure of a row instead of each. Batches come one after the other.
type exporter struct {
	to       sdktrace.SpanExporter
	log      *slog.Logger
	pending  atomic.Int64 // spans made and not yet through
	exported atomic.Uint64
	failed   atomic.Uint64
	failing  atomic.Bool
}

// ofCaller is a span with another resource than its provider's.
type ofCaller struct {
	sdktrace.ReadOnlySpan
	resource *resource.Resource
}

// Resource implements sdktrace.ReadOnlySpan.
func (s ofCaller) Resource() *resource.Resource { return s.resource }

// ExportSpans implements sdktrace.SpanExporter. It returns no error: the SDK
// would hand it to a handler of the whole process.
func (e *exporter) ExportSpans(ctx context.Context, batch []sdktrace.ReadOnlySpan) error {
	spans := make([]sdktrace.ReadOnlySpan, len(batch))
	for i, s := range batch {
		spans[i] = ofCaller{s, callerOf(s.Attributes())}
	}
	err := e.to.ExportSpans(ctx, spans)
	n := len(batch)
	e.pending.Add(int64(-n))
	if err != nil {
		e.failed.Add(uint64(n))
		if !e.failing.Swap(true) {
			e.log.Warn("export spans", "error", err, "lost", n)
		}
		return nil
	}
	e.exported.Add(uint64(n))
	if e.failing.Swap(false) {
		e.log.Info("spans are exported again", "lost", e.failed.Load())
	}
	return nil
}

// Shutdown implements sdktrace.SpanExporter.
func (e *exporter) Shutdown(ctx context.Context) error { return e.to.Shutdown(ctx) }
