package docker

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
)

// Progress is told, in a few words, what is being done that takes a while. It
// is called from one goroutine at a time. A nil Progress is not called.
type Progress func(text string)

func (p Progress) tell(format string, args ...any) {
	if p != nil {
		p(fmt.Sprintf(format, args...))
	}
}

// repository is the name of our image; its tags say what is in it.
const repository = "meshlab"

// keepImages is how long an image of another version of meshlab stays although
// no container uses it: a lab that is coming up may be about to. Images say the
// hour of their birth.
const (
	keepImages = imageTimes + 10*time.Minute
	imageTimes = time.Hour
)

// layout is what the image holds beside the program: folders with their modes.
// Programs expect them; the engine adds /dev, /proc and /sys.
var layout = map[string]int64{
	"home": 0o755, "root": 0o700, "run": 0o755, "tmp": 0o1777,
	"var": 0o755, "var/tmp": 0o1777,
}

// EnsureImage makes sure that the engine has the image that holds the given
// program, which is meshlab, and returns its name. The image is made here, of
// one layer on nothing, and loaded into the engine, so it needs no registry. It
// is made once for each content. Images that older versions left, and that no
// container uses, are removed. Any number of programs may do that at once.
//
// Errors wrap ErrUnlinked when the program cannot start in it, or are those of
// the engine.
func (e *Engine) EnsureImage(ctx context.Context, program string, progress Progress) (string, error) {
	m, err := lookAt("/")
	if err != nil {
		return "", err
	}
	if err := m.checkProgram(program); err != nil {
		return "", err
	}
	file, err := os.Open(program)
	if err != nil {
		return "", fmt.Errorf("build image: %w", err)
	}
	defer file.Close()
	st, err := file.Stat()
	if err != nil {
		return "", fmt.Errorf("build image: %w", err)
	}
	l := layer{machine: m, program: file, programBytes: st.Size()}
	sum := sha256.New()
	if l.bytes, err = l.write(sum); err != nil {
		return "", fmt.Errorf("build image: read %s: %w", program, err)
	}
	l.sum = fmt.Sprintf("sha256:%x", sum.Sum(nil))
	name := sha256.Sum256(fmt.Appendln(nil, l.sum, e.creator))
	ref := fmt.Sprintf("%s:%x", repository, name[:6])

	_, err = e.client.ImageInspect(ctx, ref)
	if err == nil {
		return ref, nil
	}
	if !errdefs.IsNotFound(err) {
		return "", fmt.Errorf("look for image %s: %w", ref, err)
	}
	progress.tell("build image %s (%d MB)", ref, st.Size()/1e6)
	if err := e.loadLayer(ctx, ref, l); err != nil {
		return "", err
	}
	return ref, e.removeOldImages(ctx, ref, time.Now())
}

// layer is all that is in our image.
type layer struct {
	machine
	program      io.ReadSeeker
	programBytes int64
	sum          string // of what write writes, "sha256:..."
	bytes        int64  // of the same
}

// write writes the layer as tar, always the same, and returns how many bytes
// that were.
func (l layer) write(to io.Writer) (int64, error) {
	if _, err := l.program.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	count := &counter{w: to}
	buf := bufio.NewWriterSize(count, 1<<20) // whole reads of the program
	t := tar.NewWriter(buf)
	var err error
	add := func(h tar.Header, content io.Reader) {
		if err != nil {
			return
		}
		if err = t.WriteHeader(&h); err == nil && content != nil {
			_, err = io.Copy(t, content)
		}
	}
	folder := func(name string, mode int64) {
		add(tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode}, nil)
	}
	for _, name := range slices.Sorted(maps.Keys(layout)) {
		folder(name, layout[name])
	}
	for _, name := range l.folders {
		folder(name, 0o755)
	}
	for _, name := range slices.Sorted(maps.Keys(l.links)) {
		add(tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: l.links[name], Mode: 0o777}, nil)
	}
	add(tar.Header{Typeflag: tar.TypeReg, Name: strings.TrimPrefix(Program, "/"), Mode: 0o755, Size: l.programBytes}, io.LimitReader(l.program, l.programBytes))
	if err != nil {
		return 0, err
	}
	if err := t.Close(); err != nil {
		return 0, err
	}
	return count.n, buf.Flush()
}

// counter counts the bytes that pass.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

// archive writes the image with its name, as `docker save` does (Docker Image
// Specification v1.2, "Combined Image JSON + Filesystem Changeset Format").
func (e *Engine) archive(w io.Writer, ref string, l layer, now time.Time) error {
	// Labs that come up at once must not make two images of one name.
	created := now.UTC().Truncate(imageTimes)
	config, err := json.Marshal(map[string]any{
		"created": created, "os": "linux", "architecture": e.arch,
		"config":  map[string]any{"Labels": map[string]string{labelRole: roleImage, labelVersion: e.creator}},
		"rootfs":  map[string]any{"type": "layers", "diff_ids": []string{l.sum}},
		"history": []map[string]any{{"created": created, "created_by": "meshlab " + e.creator}},
	})
	if err != nil {
		return err
	}
	const configName, layerName = "config.json", "layer.tar"
	manifest, err := json.Marshal([]map[string]any{{"Config": configName, "RepoTags": []string{ref}, "Layers": []string{layerName}}})
	if err != nil {
		return err
	}
	t := tar.NewWriter(w)
	for _, f := range []struct {
		name    string
		content []byte
	}{{"manifest.json", manifest}, {configName, config}} {
		if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: 0o644, Size: int64(len(f.content))}); err != nil {
			return err
		}
		if _, err := t.Write(f.content); err != nil {
			return err
		}
	}
	if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: layerName, Mode: 0o644, Size: l.bytes}); err != nil {
		return err
	}
	if _, err := l.write(t); err != nil {
		return err
	}
	return t.Close()
}

// loadLayer gives the engine an image of one layer. It has the image with its
// name or not at all: a build has images without one in between, which whoever
// removes leftovers takes away from it.
func (e *Engine) loadLayer(ctx context.Context, ref string, l layer) error {
	r, w := io.Pipe()
	sent := make(chan error, 1)
	go func() {
		err := e.archive(w, ref, l, time.Now())
		w.CloseWithError(err)
		sent <- err
	}()
	defer func() { <-sent }() // it reads a file of the caller's
	defer r.Close()           // ends it when the engine has given up
	resp, err := e.client.ImageLoad(ctx, r)
	if err != nil {
		return fmt.Errorf("build image %s: %w", ref, err)
	}
	defer resp.Body.Close()
	if err := readMessages(resp.Body, nil); err != nil {
		return fmt.Errorf("build image %s: %w", ref, err)
	}
	return nil
}

// message is one of those that the engine streams while it works (Docker
// Engine API, BuildInfo and CreateImageInfo).
type message struct {
	ID       string `json:"id"`
	Status   string `json:"status"`
	Stream   string `json:"stream"`
	Error    string `json:"error"`
	Progress struct {
		Current int64 `json:"current"`
		Total   int64 `json:"total"`
	} `json:"progressDetail"`
}

// readMessages reads the engine's messages to their end and returns the error
// that one of them tells, as the engine words it.
func readMessages(r io.Reader, each func(message)) error {
	for dec := json.NewDecoder(r); ; {
		var m message
		if err := dec.Decode(&m); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read the engine's answer: %w", err)
		}
		if m.Error != "" {
			return errors.New(m.Error)
		}
		if each != nil {
			each(m)
		}
	}
}

// removeOldImages removes images of other versions that no container uses, and
// those that have lost their name.
func (e *Engine) removeOldImages(ctx context.Context, current string, now time.Time) error {
	all, err := e.client.ImageList(ctx, image.ListOptions{Filters: filters.NewArgs(filters.Arg("label", labelRole+"="+roleImage))})
	if err != nil {
		return fmt.Errorf("list images: %w", err)
	}
	for _, img := range all {
		if slices.Contains(img.RepoTags, current) || now.Sub(time.Unix(img.Created, 0)) < keepImages {
			continue
		}
		for _, tag := range img.RepoTags {
			if err := e.removeImage(ctx, tag); err != nil {
				return err
			}
		}
	}
	return e.removeDangling(ctx)
}

// removeImage removes an image unless a container uses it.
func (e *Engine) removeImage(ctx context.Context, ref string) error {
	_, err := e.client.ImageRemove(ctx, ref, image.RemoveOptions{PruneChildren: true})
	if err != nil && !errdefs.IsNotFound(err) && !errdefs.IsConflict(err) {
		return fmt.Errorf("remove image %s: %w", ref, err)
	}
	return nil
}

// removeDangling removes images of ours that have no name and that no
// container uses.
func (e *Engine) removeDangling(ctx context.Context) error {
	_, err := e.client.ImagesPrune(ctx, filters.NewArgs(
		filters.Arg("dangling", "true"), filters.Arg("label", labelRole+"="+roleImage)))
	if err != nil && !errdefs.IsConflict(err) { // another prune is under way
		return fmt.Errorf("remove images without a name: %w", err)
	}
	return nil
}
