package image

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Config says what is in an image.
type Config struct {
	Program     string // path of meshlab, a program for Linux
	PostgresBin string // folder of postgres and initdb; empty: the image has no Postgres
	Version     string // of meshlab
	Revision    string // of its source; empty: not known
}

// Image is an image that was made and is nowhere yet.
type Image struct {
	v1.Image
	Architecture string // as Go names it: amd64, arm64
	Bytes        int64  // of all layers, compressed
	hash         v1.Hash
}

// certificates are where Go looks for those of public authorities
// (crypto/x509, root_linux.go).
var certificates = []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"}

// Build makes the image: a layer of libraries and Postgres, and one of the
// program, so that another version of the program is pushed alone. Errors match
// ErrProgram when a program cannot be in it.
func Build(c Config) (*Image, error) {
	machine, arch, err := architecture(c.Program)
	if err != nil {
		return nil, err
	}
	base, program, l := newTree(), newTree(), newLinker(machine)
	maps.Copy(base.folders, folders)
	base.files["/etc/passwd"] = file{text: passwd, mode: 0o644}
	base.files["/etc/group"] = file{text: group, mode: 0o644}
	if err := l.link(c.Program); err != nil {
		return nil, err
	}
	if c.PostgresBin != "" {
		if err := addPostgres(base, l, c.PostgresBin); err != nil {
			return nil, err
		}
	}
	for _, path := range certificates {
		if exists(path) {
			if err := base.add(path); err != nil {
				return nil, fmt.Errorf("add certificates: %w", err)
			}
		}
	}
	if err := l.addTo(base); err != nil {
		return nil, err
	}
	program.files[Program] = file{from: c.Program, mode: 0o755}
	return assemble(c, arch, base, program)
}

func architecture(program string) (elf.Machine, string, error) {
	f, err := elf.Open(program)
	if err != nil {
		return 0, "", fmt.Errorf("%w: read %s: %w", ErrProgram, program, err)
	}
	defer f.Close()
	switch f.Machine {
	case elf.EM_X86_64:
		return f.Machine, "amd64", nil
	case elf.EM_AARCH64:
		return f.Machine, "arm64", nil
	}
	return 0, "", fmt.Errorf("%w: %s is for %s; images are made for amd64 and arm64", ErrProgram, program, f.Machine)
}

func assemble(c Config, arch string, trees ...*tree) (*Image, error) {
	// The label's keys are those of the OCI image specification, annotations.
	labels := map[string]string{"org.opencontainers.image.title": "meshlab", "org.opencontainers.image.version": c.Version}
	if c.Revision != "" {
		labels["org.opencontainers.image.revision"] = c.Revision
	}
	img, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{
		OS: "linux", Architecture: arch, RootFS: v1.RootFS{Type: "layers"},
		Config: v1.Config{
			Entrypoint: []string{Program}, Labels: labels, WorkingDir: "/tmp",
			Env: []string{"PATH=/usr/bin:/bin", "HOME=/tmp"},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("make the image: %w", err)
	}
	img = mutate.ConfigMediaType(mutate.MediaType(img, types.OCIManifestSchema1), types.OCIConfigJSON)
	result := &Image{Architecture: arch}
	for _, t := range trees {
		layer, err := tarball.LayerFromOpener(t.open, tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching)
		if err != nil {
			return nil, fmt.Errorf("make the image: %w", err)
		}
		size, err := layer.Size()
		if err != nil {
			return nil, fmt.Errorf("make the image: %w", err)
		}
		result.Bytes += size
		if img, err = mutate.Append(img, mutate.Addendum{Layer: layer, MediaType: types.OCILayer, History: v1.History{CreatedBy: "meshlab " + c.Version}}); err != nil {
			return nil, fmt.Errorf("make the image: %w", err)
		}
	}
	if result.hash, err = img.Digest(); err != nil {
		return nil, fmt.Errorf("make the image: %w", err)
	}
	result.Image = img
	return result, nil
}

// open reads the tree as tar.
func (t *tree) open() (io.ReadCloser, error) {
	r, w := io.Pipe()
	go func() { w.CloseWithError(t.write(w)) }()
	return r, nil
}

// Hash is the digest of the image's manifest, as sha256:....
func (i *Image) Hash() string { return i.hash.String() }

// Tag is a tag for this content and no other: the beginning of its digest.
func (i *Image) Tag() string { return i.hash.Hex[:12] }

// ErrReference says that a name is none of an image.
var ErrReference = errors.New("it is no name of an image")

// parse reads a name, as REGISTRY/NAME:TAG; without a tag it gets that of the
// content, and without a registry that of Docker, whose name is written out: other
// engines want it.
func (i *Image) parse(ref string, options ...name.Option) (name.Tag, error) {
	tag, err := name.NewTag(ref, append(options, name.WithDefaultTag(i.Tag()))...)
	if err == nil {
		full := strings.Replace(tag.Name(), name.DefaultRegistry+"/", "docker.io/", 1)
		tag, err = name.NewTag(full, options...)
	}
	if err != nil {
		return name.Tag{}, fmt.Errorf("%q: %w: %w", ref, ErrReference, err)
	}
	return tag, nil
}

// Save writes the image into a file, as `docker load`, `ctr images import` and
// `kind load image-archive` take it, and returns the name that it has there. The
// file is there as a whole or not at all.
func (i *Image) Save(ref, path string) (string, error) {
	tag, err := i.parse(ref)
	if err != nil {
		return "", err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".image")
	if err != nil {
		return "", fmt.Errorf("save the image: %w", err)
	}
	defer os.Remove(f.Name())
	err = errors.Join(tarball.Write(tag, i.Image, f), f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return "", fmt.Errorf("save the image: %w", err)
	}
	return tag.String(), nil
}
