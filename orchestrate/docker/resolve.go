package docker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/image"
	"golang.org/x/sync/errgroup"
)

// Errors of Resolve, wrapped.
var (
	// ErrNoImage says that neither the engine nor the registry has the image.
	ErrNoImage = errors.New("there is no such image")
	// ErrRegistry says that the registry cannot be reached or does not answer.
	ErrRegistry = errors.New("the registry of the image cannot be reached")
	// ErrArchitecture says that an image is for other processors than the
	// machine's.
	ErrArchitecture = errors.New("the image is for another architecture")
	// ErrArchive says that an archive does not hold one image.
	ErrArchive = errors.New("not an archive of one image")
)

// pulls is how many images are fetched at a time; the engine fetches three
// layers of each (dockerd(8), --max-concurrent-downloads).
const pulls = 3

// Resolve makes sure that the engine has all images, and returns the ID of
// each, for ProcessSpec.Image. A name that ends in .tar is an archive made by
// `docker save`, relative to dir, and is loaded; others are pulled unless the
// engine has them. Nothing is started.
//
// The errors of all images are joined; each wraps ErrNoImage, ErrRegistry,
// ErrArchitecture or ErrArchive, or is the engine's.
func (e *Engine) Resolve(ctx context.Context, images []string, dir string, progress Progress) (map[string]string, error) {
	var mu sync.Mutex
	serial := Progress(func(text string) {
		mu.Lock()
		defer mu.Unlock()
		progress.tell("%s", text)
	})
	names := slices.Compact(slices.Sorted(slices.Values(images)))
	ids, errs := make([]string, len(names)), make([]error, len(names))
	var group errgroup.Group
	group.SetLimit(pulls)
	for i, name := range names {
		group.Go(func() error {
			ids[i], errs[i] = e.resolve(ctx, name, dir, serial)
			if errs[i] != nil {
				errs[i] = fmt.Errorf("image %s: %w", name, errs[i])
			}
			return nil
		})
	}
	_ = group.Wait() // its functions return no errors
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	all := map[string]string{}
	for i, name := range names {
		all[name] = ids[i]
	}
	return all, nil
}

func (e *Engine) resolve(ctx context.Context, name, dir string, progress Progress) (string, error) {
	if strings.HasSuffix(name, ".tar") {
		return e.load(ctx, name, dir, progress)
	}
	found, err := e.client.ImageInspect(ctx, name)
	if err == nil {
		if err := e.checkArchitecture(found); err != nil {
			return "", fmt.Errorf("%w; `docker pull --platform linux/%s %s` fetches the right one, if there is one", err, e.arch, name)
		}
		return found.ID, nil
	}
	if !errdefs.IsNotFound(err) {
		return "", err
	}
	if err := e.pull(ctx, name, progress); err != nil {
		return "", err
	}
	found, err = e.client.ImageInspect(ctx, name)
	if err != nil {
		return "", err
	}
	if err := e.checkArchitecture(found); err != nil {
		return "", errors.Join(fmt.Errorf("%w; choose another tag", err), e.removeImage(ctx, name))
	}
	return found.ID, nil
}

// checkArchitecture compares the image with the engine.
func (e *Engine) checkArchitecture(found image.InspectResponse) error {
	// Both are GOOS and GOARCH (OCI image specification, configuration).
	if found.Os != "linux" || found.Architecture != e.arch {
		return fmt.Errorf("%w: it is for %s/%s, and this machine is linux/%s", ErrArchitecture, found.Os, found.Architecture, e.arch)
	}
	return nil
}

// tellEvery is the least pause between two words about one pull.
const tellEvery = 500 * time.Millisecond

// pull fetches an image.
func (e *Engine) pull(ctx context.Context, name string, progress Progress) error {
	progress.tell("pull image %s", name)
	stream, err := e.client.ImagePull(ctx, name, image.PullOptions{})
	if err != nil {
		return pullError(ctx, err)
	}
	defer stream.Close()
	type layer struct{ current, total int64 }
	layers, told := map[string]layer{}, time.Now()
	if err := readMessages(stream, func(m message) {
		switch m.Status {
		case "Downloading":
			layers[m.ID] = layer{m.Progress.Current, m.Progress.Total}
		case "Download complete":
			l := layers[m.ID]
			layers[m.ID] = layer{l.total, l.total}
		}
		if time.Since(told) < tellEvery {
			return
		}
		var sum layer
		for _, l := range layers {
			sum.current, sum.total = sum.current+l.current, sum.total+l.total
		}
		told = time.Now()
		progress.tell("pull image %s: %.1f of %.1f MB", name, float64(sum.current)/1e6, float64(sum.total)/1e6)
	}); err != nil {
		return pullError(ctx, err)
	}
	return nil
}

// pullError says what a failed pull means. The engine's answer has a code
// before the stream begins, and words alone after.
func pullError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	has := func(parts ...string) bool {
		return slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(err.Error(), p) })
	}
	switch {
	case has("no matching manifest", "does not match the specified platform", "does not provide the specified platform"):
		return fmt.Errorf("%w: %w", ErrArchitecture, err)
	case has("dial tcp", "no such host", "timeout", "connection refused", "connection reset", "x509", "TLS"):
	case errdefs.IsNotFound(err), has("manifest unknown", "not found", "pull access denied", "repository does not exist"):
		return fmt.Errorf("%w: %w; check its name and tag, or `docker login` if it is private", ErrNoImage, err)
	}
	return fmt.Errorf("%w: %w; on a machine without it, `docker save` the image elsewhere and name the archive in the lab file (image: FILE.tar)", ErrRegistry, err)
}

// load loads an archive and returns the ID of its image. When the image that
// had its name before becomes nameless by that, it is removed.
func (e *Engine) load(ctx context.Context, name, dir string, progress Progress) (string, error) {
	path := name
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, name)
	}
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("%w: there is no file %s; `docker save -o %s IMAGE` makes one", ErrNoImage, path, path)
	}
	if err != nil {
		return "", err
	}
	defer file.Close()
	before, err := e.client.ImageList(ctx, image.ListOptions{All: true})
	if err != nil {
		return "", fmt.Errorf("list images: %w", err)
	}
	progress.tell("load image %s", name)
	resp, err := e.client.ImageLoad(ctx, file)
	if err != nil {
		return "", archiveError(ctx, err)
	}
	defer resp.Body.Close()
	var loaded []string
	if err := readMessages(resp.Body, func(m message) {
		// "Loaded image: NAME:TAG", or "Loaded image ID: sha256:..." of one without.
		for _, prefix := range []string{"Loaded image: ", "Loaded image ID: "} {
			if ref, ok := strings.CutPrefix(strings.TrimSpace(m.Stream), prefix); ok {
				loaded = append(loaded, ref)
			}
		}
	}); err != nil {
		return "", archiveError(ctx, err)
	}
	ids := map[string]image.InspectResponse{}
	for _, ref := range loaded {
		found, err := e.client.ImageInspect(ctx, ref)
		if err != nil {
			return "", err
		}
		ids[found.ID] = found
	}
	if len(ids) != 1 {
		return "", fmt.Errorf("%w: it holds %d images (%s); `docker save -o %s IMAGE` makes one with a single image", ErrArchive, len(ids), strings.Join(loaded, ", "), path)
	}
	var id string
	for id = range ids {
	}
	old := func(img image.Summary) bool {
		return img.ID != id && slices.ContainsFunc(img.RepoTags, func(t string) bool { return slices.Contains(loaded, t) })
	}
	known := func(img image.Summary) bool { return img.ID == id }
	if err := e.checkArchitecture(ids[id]); err != nil {
		if !slices.ContainsFunc(before, known) {
			for _, ref := range loaded {
				err = errors.Join(err, e.removeImage(ctx, ref))
			}
		}
		return "", err
	}
	for _, img := range before {
		if !old(img) {
			continue
		}
		if now, err := e.client.ImageInspect(ctx, img.ID); err == nil && len(now.RepoTags)+len(now.RepoDigests) == 0 {
			if err := e.removeImage(ctx, img.ID); err != nil {
				return "", err
			}
		}
	}
	return id, nil
}

// archiveError says what the engine had against an archive.
func archiveError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("%w: %w; `docker save` makes one", ErrArchive, err)
}
