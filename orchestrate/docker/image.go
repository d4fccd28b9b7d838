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
	"github.com/docker/docker/api/types/build"
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
// no container uses it: a lab that is coming up may be about to.
const keepImages = 10 * time.Minute

// layout is what the image holds beside the program: folders with their modes.
// Programs expect them; the engine adds /dev, /proc and /sys.
var layout = map[string]int64{
	"home": 0o755, "root": 0o700, "run": 0o755, "tmp": 0o1777,
	"var": 0o755, "var/tmp": 0o1777,
}

// EnsureImage makes sure that the engine has the image that holds the given
// program, which is meshlab, and returns its name. The image is built on
// nothing (FROM scratch) from what is sent to the engine, so it needs no
// registry. It is built once for each content. Images that older versions
// left, and that no container uses, are removed.
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
	dockerfile := fmt.Sprintf("FROM scratch\nLABEL %s=%s %s=%q\nCOPY rootfs/ /\n", labelRole, roleImage, labelVersion, e.creator)
	hash := sha256.New()
	fmt.Fprintln(hash, dockerfile, layout, m.folders, m.links)
	if _, err := io.Copy(hash, file); err != nil {
		return "", fmt.Errorf("build image: read %s: %w", program, err)
	}
	ref := fmt.Sprintf("%s:%x", repository, hash.Sum(nil)[:6])

	_, err = e.client.ImageInspect(ctx, ref)
	if err == nil {
		return ref, nil
	}
	if !errdefs.IsNotFound(err) {
		return "", fmt.Errorf("look for image %s: %w", ref, err)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return "", fmt.Errorf("build image: %w", err)
	}
	progress.tell("build image %s (%d MB)", ref, st.Size()/1e6)
	if err := e.build(ctx, ref, func(w io.Writer) error {
		return writeContext(w, dockerfile, m, file, st.Size())
	}); err != nil {
		return "", err
	}
	return ref, e.removeOldImages(ctx, ref, time.Now())
}

// build has the engine build an image of the context that send writes.
func (e *Engine) build(ctx context.Context, ref string, send func(io.Writer) error) error {
	r, w := io.Pipe()
	go func() { w.CloseWithError(send(w)) }()
	defer r.Close() // ends send when the engine has given up
	resp, err := e.client.ImageBuild(ctx, r, build.ImageBuildOptions{
		Tags: []string{ref}, Remove: true, ForceRemove: true, Version: build.BuilderV1,
		NetworkMode: "none",
	})
	if err != nil {
		return fmt.Errorf("build image %s: %w", ref, err)
	}
	defer resp.Body.Close()
	if err := readMessages(resp.Body, nil); err != nil {
		return fmt.Errorf("build image %s: %w", ref, err)
	}
	return nil
}

// writeContext writes the files that the image is built of, as tar.
func writeContext(w io.Writer, dockerfile string, m machine, program io.Reader, size int64) error {
	buf := bufio.NewWriterSize(w, 1<<20) // whole reads of the program
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
		add(tar.Header{Typeflag: tar.TypeDir, Name: "rootfs/" + name + "/", Mode: mode}, nil)
	}
	add(tar.Header{Typeflag: tar.TypeReg, Name: "Dockerfile", Mode: 0o644, Size: int64(len(dockerfile))}, strings.NewReader(dockerfile))
	for _, name := range slices.Sorted(maps.Keys(layout)) {
		folder(name, layout[name])
	}
	for _, name := range m.folders {
		folder(name, 0o755)
	}
	for _, name := range slices.Sorted(maps.Keys(m.links)) {
		add(tar.Header{Typeflag: tar.TypeSymlink, Name: "rootfs/" + name, Linkname: m.links[name], Mode: 0o777}, nil)
	}
	add(tar.Header{Typeflag: tar.TypeReg, Name: "rootfs" + Program, Mode: 0o755, Size: size}, io.LimitReader(program, size))
	if err != nil {
		return err
	}
	if err := t.Close(); err != nil {
		return err
	}
	return buf.Flush()
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
// what builds that were interrupted left.
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
