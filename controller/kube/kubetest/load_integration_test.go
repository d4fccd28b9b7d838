//go:build integration

package kubetest_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"meshlab.dev/meshlab/controller/kube/kubetest"
)

// load asks for coffees without a pause: some clients keep their connections,
// others make one for each request.
type load struct {
	t       *testing.T
	stop    context.CancelFunc
	clients sync.WaitGroup
	asked   atomic.Int64

	mu     sync.Mutex
	failed []error
}

// askers is how many clients of a load keep a connection, and as many do not.
const askers = 4

func startLoad(t *testing.T, c *kubetest.Cluster, from corev1.Pod) *load {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	l := &load{t: t, stop: stop}
	for i := range 2 * askers {
		client := &http.Client{Transport: &http.Transport{DialContext: c.Dial(from), DisableKeepAlives: i%2 == 0}, Timeout: 20 * time.Second}
		l.clients.Go(func() {
			defer client.CloseIdleConnections()
			for ctx.Err() == nil {
				if err := ask(ctx, client); err != nil && ctx.Err() == nil {
					l.mu.Lock()
					l.failed = append(l.failed, err)
					l.mu.Unlock()
				}
				l.asked.Add(1)
			}
		})
	}
	t.Cleanup(func() {
		stop()
		l.clients.Wait()
	})
	return l
}

func ask(ctx context.Context, client *http.Client) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+kubetest.VirtualIP+":9099/api",
		strings.NewReader(`{"query": "query GetCoffees { coffees { id name price } }"}`))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && (response.StatusCode != http.StatusOK || !bytes.Contains(text, []byte("HCP Aeropress"))) {
		err = fmt.Errorf("status %d: %.200s", response.StatusCode, text)
	}
	return err
}

// more waits until so many further requests have been answered.
func (l *load) more(n int64) {
	l.t.Helper()
	until := l.asked.Load() + n
	kubetest.Eventually(l.t, "further requests", func(context.Context) error {
		if now := l.asked.Load(); now < until {
			return fmt.Errorf("%d of %d", now, until)
		}
		return nil
	})
}

// end ends the load: no request may have failed.
func (l *load) end() {
	l.t.Helper()
	l.stop()
	l.clients.Wait()
	l.t.Logf("%d requests, %d failed", l.asked.Load(), len(l.failed))
	if len(l.failed) > 0 || l.asked.Load() == 0 {
		l.t.Errorf("%d of %d requests failed, the first: %v", len(l.failed), l.asked.Load(), l.failed[:min(1, len(l.failed))])
	}
}
