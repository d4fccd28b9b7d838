package kube

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
)

// ConfigMaps by which client and load talk, and their keys.
const (
	planMap     = "load-plan"     // written by the client before the load is there
	progressMap = "load-progress" // written again and again
	resultMap   = "load-result"   // written last: it says how many chunks there are
	chunkMap    = "load-chunk-"   // and a number

	keyText   = "text"
	keyBytes  = "bytes"  // of all chunks, compressed
	keyChunks = "chunks" // number
	keySum    = "sha256" // of all chunks
)

// Bounds of what a load can hand over: an object of the API has at most 1 MiB,
// and a request to etcd 1.5 MiB (etcd, "System limits").
const (
	maxChunk  = 900_000 // bytes
	maxChunks = 64
)

// ErrTooLarge says that what was measured does not fit.
var ErrTooLarge = errors.New("the result is too large for the cluster's API")

// pack compresses a result and cuts it.
func pack(result []byte) ([][]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write(result)
	if err = errors.Join(err, z.Close()); err != nil {
		return nil, fmt.Errorf("compress the result: %w", err)
	}
	return cut(b.Bytes())
}

// cut makes chunks.
func cut(all []byte) ([][]byte, error) {
	if len(all) > maxChunk*maxChunks {
		return nil, fmt.Errorf("%w: %d MB, compressed, and %d are taken; measure fewer connections, requests or repeats in one run",
			ErrTooLarge, len(all)/1e6, maxChunk*maxChunks/1_000_000)
	}
	return slices.Collect(slices.Chunk(all, maxChunk)), nil
}

// assemble is the reverse of pack.
func assemble(all [][]byte, sum string) ([]byte, error) {
	whole := bytes.Join(all, nil)
	if have := fmt.Sprintf("%x", sha256.Sum256(whole)); have != sum {
		return nil, fmt.Errorf("the chunks of the result have sha256 %s, and the load wrote %s", have, sum)
	}
	z, err := gzip.NewReader(bytes.NewReader(whole))
	if err != nil {
		return nil, fmt.Errorf("decompress the result: %w", err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		return nil, fmt.Errorf("decompress the result: %w", err)
	}
	return text, nil
}

// Post is the load's end: it reads the plan and writes progress and result.
type Post struct {
	maps corev1client.ConfigMapInterface
}

// NewPost returns the post of a namespace.
func NewPost(client corev1client.ConfigMapsGetter, namespace string) Post {
	return Post{client.ConfigMaps(namespace)}
}

// Plan reads what the client wants measured, and tries again until ctx ends.
func (p Post) Plan(ctx context.Context) (text []byte, err error) {
	err = insist(ctx, func() error {
		m, err := p.maps.Get(ctx, planMap, metav1.GetOptions{})
		if err == nil {
			text = m.BinaryData[keyText]
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the plan: %w", err)
	}
	return text, nil
}

// Progress replaces what the client is told. It is tried once: the next one
// tells more.
func (p Post) Progress(ctx context.Context, text []byte) error {
	return p.write(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: progressMap}, BinaryData: map[string][]byte{keyText: text}})
}

// Result hands over what was measured, and tries again until ctx ends. Errors
// match ErrTooLarge when it does not fit.
func (p Post) Result(ctx context.Context, result []byte) error {
	all, err := pack(result)
	if err != nil {
		return err
	}
	sum := sha256.New()
	size := 0
	for i, chunk := range all {
		sum.Write(chunk)
		size += len(chunk)
		m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: chunkMap + strconv.Itoa(i)}, BinaryData: map[string][]byte{keyBytes: chunk}}
		if err := insist(ctx, func() error { return p.write(ctx, m) }); err != nil {
			return fmt.Errorf("write chunk %d of %d of the result: %w", i+1, len(all), err)
		}
	}
	m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: resultMap}, Data: map[string]string{
		keyChunks: strconv.Itoa(len(all)), keyBytes: strconv.Itoa(size), keySum: fmt.Sprintf("%x", sum.Sum(nil)),
	}}
	if err := insist(ctx, func() error { return p.write(ctx, m) }); err != nil {
		return fmt.Errorf("write that the result is complete: %w", err)
	}
	return nil
}

// write makes a ConfigMap, or replaces the one that is there.
func (p Post) write(ctx context.Context, m *corev1.ConfigMap) error {
	_, err := p.maps.Update(ctx, m, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) {
		_, err = p.maps.Create(ctx, m, metav1.CreateOptions{})
	}
	return err
}

// refusals bounds how long an API server may refuse what it should allow: one
// that has just started does until it has read its rules.
const refusals = time.Minute

// insist asks until it works. What will never work is an error.
func insist(ctx context.Context, ask func() error) error {
	var refused time.Time // since when it is
	for {
		err := ask()
		if err == nil || apierrors.IsNotFound(err) || apierrors.IsInvalid(err) || apierrors.IsRequestEntityTooLargeError(err) {
			return err
		}
		if !apierrors.IsForbidden(err) && !apierrors.IsUnauthorized(err) {
			refused = time.Time{}
		} else if refused.IsZero() {
			refused = time.Now()
		} else if time.Since(refused) > refusals {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-time.After(poll):
		}
	}
}

// progress is what the load said last. The error is errNothing before that.
func (p Post) progress(ctx context.Context) ([]byte, error) {
	m, err := p.maps.Get(ctx, progressMap, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, errNothing
	}
	if err != nil {
		return nil, err
	}
	return m.BinaryData[keyText], nil
}

// errNothing says that the load has not written this yet.
var errNothing = errors.New("the load has not written it")

// result reads the chunks. The error is errNothing until all are there.
func (p Post) result(ctx context.Context) ([]byte, error) {
	m, err := p.maps.Get(ctx, resultMap, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, errNothing
	}
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(m.Data[keyChunks])
	if err != nil || n < 1 || n > maxChunks {
		return nil, fmt.Errorf("the load says that its result has %q chunks: 1 to %d were expected", m.Data[keyChunks], maxChunks)
	}
	all := make([][]byte, n)
	for i := range all {
		chunk, err := p.maps.Get(ctx, chunkMap+strconv.Itoa(i), metav1.GetOptions{})
		if err != nil {
			return nil, fmt.Errorf("read chunk %d of %d of the result: %w", i+1, n, err)
		}
		all[i] = chunk.BinaryData[keyBytes]
	}
	return assemble(all, m.Data[keySum])
}
