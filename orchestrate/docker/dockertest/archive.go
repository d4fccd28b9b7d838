package dockertest

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Image is a small image that tests make by hand.
type Image struct {
	Tag     string            // name and tag
	Arch    string            // as Go names it
	Program string            // file that becomes /program, its only program; "": none
	Cmd     []string          // arguments of /program
	Files   map[string]string // path without a leading slash -> content
}

// Build builds a Go program that starts in an image with nothing else in it,
// and returns its path.
func Build(t testing.TB, pkg string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", path, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v: %s", pkg, err, out)
	}
	return path
}

// Layer is the one layer of the image, as tar.
func (img Image) Layer(t testing.TB) []byte {
	t.Helper()
	files := map[string][]byte{}
	for name, content := range img.Files {
		files[name] = []byte(content)
	}
	if img.Program != "" {
		b, err := os.ReadFile(img.Program)
		if err != nil {
			t.Fatal(err)
		}
		files["program"] = b
	}
	return tarOf(t, files)
}

// Config is the image's configuration (OCI image specification), for a layer.
func (img Image) Config(t testing.TB, layer []byte) []byte {
	t.Helper()
	return jsonOf(t, map[string]any{
		"architecture": img.Arch, "os": "linux",
		"config": map[string]any{"Entrypoint": []string{"/program"}, "Cmd": img.Cmd, "Env": []string{"FROM_IMAGE=yes"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{fmt.Sprintf("sha256:%x", sha256.Sum256(layer))}},
	})
}

// Save writes the image as an archive like those of `docker save`.
func (img Image) Save(t testing.TB, path string) {
	t.Helper()
	layer := img.Layer(t)
	archive := tarOf(t, map[string][]byte{
		"layer.tar": layer, "config.json": img.Config(t, layer),
		"manifest.json": jsonOf(t, []map[string]any{{"Config": "config.json", "RepoTags": []string{img.Tag}, "Layers": []string{"layer.tar"}}}),
	})
	if err := os.WriteFile(path, archive, 0o600); err != nil {
		t.Fatal(err)
	}
}

func tarOf(t testing.TB, files map[string][]byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for name, content := range files {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o755, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func jsonOf(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
