package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"path/filepath"
	"testing"
)

func TestAskEngine(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "docker.sock")
	if _, err := askEngine(t.Context(), socket); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no engine: %v", err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"Version": "20.10.24", "ApiVersion": "1.41", "Os": "linux"}`)
	})
	mux.HandleFunc("GET /info", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"SecurityOptions": ["name=seccomp,profile=default", "name=rootless"]}`)
	})
	server := &http.Server{Handler: mux}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	info, err := askEngine(t.Context(), socket)
	if err != nil || info.Version != "20.10.24" || info.APIVersion != "1.41" || len(info.Security) != 2 {
		t.Errorf("%+v, %v", info, err)
	}
}

func TestAPILess(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want bool
	}{{"1.40", "1.41", true}, {"1.41", "1.41", false}, {"1.100", "1.41", false}, {"1.5", "1.41", true}, {"2.0", "1.41", false}, {"", "1.41", true}, {"new", "1.41", true}} {
		if got := apiLess(tc.a, tc.b); got != tc.want {
			t.Errorf("apiLess(%q, %q) = %v", tc.a, tc.b, got)
		}
	}
}
