package kubetest

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestAttachments(t *testing.T) {
	for name, tc := range map[string]struct {
		annotation string
		want       []attachment
		err        string
	}{
		"none": {},
		"JSON with an address": {`[{"name": "mesh", "ips": ["10.1.1.2/24"]}]`,
			[]attachment{{Name: "mesh", Namespace: "shop", IPs: []string{"10.1.1.2/24"}, Interface: "net1"}}, ""},
		"short, with namespace and interface": {"mesh, other/net@lan0",
			[]attachment{{Name: "mesh", Namespace: "shop", Interface: "net1"}, {Name: "net", Namespace: "other", Interface: "lan0"}}, ""},
		"no JSON": {"[{", nil, networksAnnotation},
		"no name": {`[{"ips": ["10.1.1.2/24"]}]`, nil, "network 0 has no name"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := attachments(tc.annotation, "shop")
			if tc.err == "" && err != nil || tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)) {
				t.Errorf("error %v, want %q", err, tc.err)
			}
			if !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
		})
	}
}

func TestProgramFor(t *testing.T) {
	read := func(path string) ([]byte, error) {
		if path != "/config/conf.json" {
			return nil, os.ErrNotExist
		}
		return []byte(`{"db_connection": "host=10.1.1.254", "bind_address": ":9090"}`), nil
	}
	port := []corev1.ContainerPort{{ContainerPort: 8080}}
	for name, tc := range map[string]struct {
		container corev1.Container
		want      program
		err       error
	}{
		"configuration in a file": {
			corev1.Container{Image: "hashicorpdemoapp/product-api:v0.0.21", Env: []corev1.EnvVar{{Name: "CONFIG_FILE", Value: "/config/conf.json"}}},
			program{name: "hashicups/product-api", env: map[string]string{"DB_CONNECTION": "host=10.1.1.254", "BIND_ADDRESS": ":9090"}}, nil},
		"the first port": {
			corev1.Container{Image: "registry.example/a/payments", Ports: port},
			program{name: "hashicups/payments", env: map[string]string{"BIND_ADDRESS": ":8080"}}, nil},
		"the environment before the port": {
			corev1.Container{Image: "hashicorpdemoapp/public-api:v0.0.6", Ports: port, Env: []corev1.EnvVar{{Name: "BIND_ADDRESS", Value: ":1"}, {Name: "X", Value: "y"}}},
			program{name: "hashicups/public-api", env: map[string]string{"BIND_ADDRESS": ":1", "X": "y"}}, nil},
		"file that nothing mounts": {corev1.Container{Image: "nginx:alpine"}, program{}, os.ErrNotExist},
		"unknown image":            {corev1.Container{Image: "busybox"}, program{}, errNoProgram},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := programFor(tc.container, read)
			if !errors.Is(err, tc.err) {
				t.Errorf("error %v, want %v", err, tc.err)
			}
			if !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
		})
	}
}

func TestStandInNginx(t *testing.T) {
	who := func(name string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, name, r.URL.Path) }))
		t.Cleanup(s.Close)
		return strings.TrimPrefix(s.URL, "http://")
	}
	handler, err := standInNginx(fmt.Sprintf(`
		# upstream pages { server 192.0.2.1:1; }
		upstream pages { server %s; }
		server {
			listen 80;
			gzip on;
			location /static { proxy_cache X; proxy_pass http://pages; }
			location / { proxy_pass http://pages; }
			location /api { proxy_pass http://%s; }
		}`, who("pages"), who("api")))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"/": "pages/", "/api": "api/api", "/static/x": "pages/static/x"} {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if got := w.Body.String(); got != want {
			t.Errorf("%s: %q answered, want %q", path, got, want)
		}
	}
	if _, err := standInNginx("server { listen 80; }"); err == nil {
		t.Error("a configuration that passes nothing on is taken")
	}
}
