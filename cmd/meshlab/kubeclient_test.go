package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshlab.dev/meshlab/controller"
)

// TestTokenIsReadAgain replaces the token in a kubeconfig while a client
// works: one that the API server refuses is read again for the next request.
func TestTokenIsReadAgain(t *testing.T) {
	valid := "first"
	api := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+valid {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"kind":"PodList","apiVersion":"v1"}`)
	}))
	defer api.Close()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	write := func(user string) {
		t.Helper()
		text := strings.NewReplacer("SERVER", api.URL, "USER", user).Replace(`
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "SERVER", insecure-skip-tls-verify: true}}]
users: [{name: u, user: {USER}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("token: first")
	client, err := kubeClient(controller.Kubernetes{Kubeconfig: file})
	if err != nil {
		t.Fatal(err)
	}
	list := func() error {
		_, err := client.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{})
		return err
	}
	if err := list(); err != nil {
		t.Fatalf("the first token: %v", err)
	}
	valid = "second"
	if err := list(); !apierrors.IsUnauthorized(err) {
		t.Fatalf("a token that has ended: %v", err)
	}
	write("token: second")
	if err := list(); err != nil {
		t.Fatalf("the token that came for it: %v", err)
	}
	valid = "third"
	write("username: nobody")
	_ = list() // refused: the token is to be read again
	if err := list(); err == nil {
		t.Error("a kubeconfig without a token is good enough")
	}
}
