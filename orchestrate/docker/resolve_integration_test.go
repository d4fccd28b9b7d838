//go:build integration

package docker_test

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"meshlab.dev/meshlab/orchestrate/docker"
	"meshlab.dev/meshlab/orchestrate/docker/dockertest"
)

// foreign is an architecture that the machine does not have.
func foreign() string {
	if runtime.GOARCH == "arm64" {
		return "amd64"
	}
	return "arm64"
}

func TestArchive(t *testing.T) {
	r := newRig(t)
	dir := t.TempDir()
	program := dockertest.Build(t, "./testdata/print")
	const tag = "meshlab-test/archive:1"
	t.Cleanup(func() { removeImages(t, r.Engine, tag) })
	dockertest.Image{Tag: tag, Arch: runtime.GOARCH, Program: program, Cmd: []string{"old"}}.Save(t, filepath.Join(dir, "shop.tar"))
	old, err := r.Resolve(deadline(t), []string{"shop.tar"}, dir, nil)
	if err != nil {
		t.Fatal(err)
	}

	// A new archive of the same name takes its place, and leaves nothing nameless.
	dockertest.Image{Tag: tag, Arch: runtime.GOARCH, Program: program, Cmd: []string{"new"}}.Save(t, filepath.Join(dir, "shop.tar"))
	var told []string
	ids, err := r.Resolve(deadline(t), []string{"shop.tar", tag, "shop.tar"}, dir, func(text string) { told = append(told, text) })
	if err != nil {
		t.Fatal(err)
	}
	if ids["shop.tar"] == "" || ids["shop.tar"] == old["shop.tar"] {
		t.Errorf("IDs: %v, before %v", ids, old)
	}
	if all := images(t, r.Engine); strings.Contains(strings.Join(all, " "), "<none>") || strings.Contains(strings.Join(all, " "), old["shop.tar"]) {
		t.Errorf("images left: %v", all)
	}
	if len(told) != 1 || told[0] != "load image shop.tar" {
		t.Errorf("told: %q", told)
	}

	// It runs in the network of the host, with what it says itself.
	h, _ := r.host(t, "h1")
	var out syncBuffer
	p := r.run(t, h, docker.ProcessSpec{Name: "shop", Image: ids["shop.tar"], Env: []string{"FROM_LAB=yes"}, Output: &out})
	if exit, err := p.Wait(deadline(t)); err != nil || exit.Code != 0 {
		t.Errorf("%v, %v: %s", exit, err, exit.Last)
	}
	if got := out.String(); !strings.Contains(got, "new FROM_IMAGE=yes FROM_LAB=yes") {
		t.Errorf("the image's program printed %q", got)
	}
}

func TestBadArchives(t *testing.T) {
	e := dockertest.Engine(t)
	dir := t.TempDir()
	before := images(t, e)
	dockertest.Image{Tag: "meshlab-test/foreign:1", Arch: foreign()}.Save(t, filepath.Join(dir, "foreign.tar"))
	if err := os.WriteFile(filepath.Join(dir, "garbage.tar"), []byte(strings.Repeat("no archive ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := e.Resolve(deadline(t), []string{"foreign.tar", "garbage.tar", "missing.tar"}, dir, nil)
	for want, text := range map[error]string{
		docker.ErrArchitecture: "image foreign.tar: the image is for another architecture: it is for linux/" + foreign() + ", and this machine is linux/" + runtime.GOARCH,
		docker.ErrArchive:      "image garbage.tar: not an archive of one image",
		docker.ErrNoImage:      "image missing.tar: there is no such image: there is no file " + dir + "/missing.tar",
	} {
		if !errors.Is(err, want) || !strings.Contains(err.Error(), text) {
			t.Errorf("error\n%v\nlacks %q", err, text)
		}
	}
	if after := images(t, e); fmt.Sprint(before) != fmt.Sprint(after) {
		t.Errorf("images before: %v, after: %v", before, after)
	}
}

// TestPull pulls from a registry that has two images, one of them for another
// architecture. Engines ask registries of this machine over HTTP.
func TestPull(t *testing.T) {
	e := dockertest.Engine(t)
	host := registry(t, map[string]dockertest.Image{
		"shop":    {Arch: runtime.GOARCH, Files: map[string]string{"hello": strings.Repeat("hello ", 1000)}},
		"foreign": {Arch: foreign()},
	})
	good, bad, none := host+"/shop:1", host+"/foreign:1", host+"/none:1"
	t.Cleanup(func() { removeImages(t, e, good) })
	var told []string
	ids, err := e.Resolve(deadline(t), []string{good}, "", func(text string) { told = append(told, text) })
	if err != nil {
		t.Fatal(err)
	}
	if len(told) == 0 || told[0] != "pull image "+good {
		t.Errorf("told %q", told)
	}
	told = nil
	again, err := e.Resolve(deadline(t), []string{good}, "", func(text string) { told = append(told, text) })
	if err != nil || again[good] != ids[good] || len(told) > 0 {
		t.Errorf("again: %v, %v, told %q; first %v", again, err, told, ids)
	}

	before := images(t, e)
	_, err = e.Resolve(deadline(t), []string{bad}, "", nil)
	if !errors.Is(err, docker.ErrArchitecture) {
		t.Errorf("foreign image: %v", err)
	}
	_, err = e.Resolve(deadline(t), []string{none}, "", nil)
	if !errors.Is(err, docker.ErrNoImage) || !strings.Contains(err.Error(), none) {
		t.Errorf("missing image: %v", err)
	}
	// Port 1 of this machine: nobody listens.
	_, err = e.Resolve(deadline(t), []string{"127.0.0.1:1/shop:1"}, "", nil)
	if !errors.Is(err, docker.ErrRegistry) || !strings.Contains(err.Error(), "127.0.0.1:1/shop:1") {
		t.Errorf("missing registry: %v", err)
	}
	if after := images(t, e); fmt.Sprint(before) != fmt.Sprint(after) {
		t.Errorf("images before: %v, after: %v", before, after)
	}
}

// registry serves images with the tag 1 (OCI distribution specification) and
// returns its host and port.
func registry(t *testing.T, all map[string]dockertest.Image) string {
	t.Helper()
	const manifestType, layerType, configType = "application/vnd.docker.distribution.manifest.v2+json",
		"application/vnd.docker.image.rootfs.diff.tar", "application/vnd.docker.container.image.v1+json"
	content := map[string][]byte{}
	put := func(kind string, b []byte) map[string]any {
		digest := fmt.Sprintf("sha256:%x", sha256.Sum256(b))
		content[digest] = b
		return map[string]any{"mediaType": kind, "size": len(b), "digest": digest}
	}
	for name, img := range all {
		layer := img.Layer(t)
		b, err := json.Marshal(map[string]any{
			"schemaVersion": 2, "mediaType": manifestType,
			"config": put(configType, img.Config(t, layer)), "layers": []any{put(layerType, layer)},
		})
		if err != nil {
			t.Fatal(err)
		}
		content[name+"/manifests/1"] = b
		put(manifestType, b)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		path := strings.TrimPrefix(req.URL.Path, "/v2/")
		b, ok := content[path]
		if !ok {
			b, ok = content[path[strings.LastIndexByte(path, '/')+1:]]
		}
		switch {
		case path == "":
		case !ok:
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}`)
		default:
			if strings.Contains(path, "/manifests/") {
				w.Header().Set("Content-Type", manifestType)
			}
			w.Header().Set("Docker-Content-Digest", fmt.Sprintf("sha256:%x", sha256.Sum256(b)))
			w.Header().Set("Content-Length", fmt.Sprint(len(b)))
			if req.Method == http.MethodGet {
				_, _ = w.Write(b)
			}
		}
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}
