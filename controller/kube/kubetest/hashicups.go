package kubetest

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// manifestsVariable names the environment variable with the folder of
// manifests to use in place of this package's own, as those of the thesis.
const manifestsVariable = "MESHLAB_MANIFESTS"

//go:embed testdata/hashicups.yaml
var hashicups string

// What the manifests of HashiCups say, this package's and the thesis'.
const (
	// VirtualIP is where pods reach their upstreams.
	VirtualIP = "10.1.1.254"
	// HashiCupsNetwork is the network that all pods are in.
	HashiCupsNetwork = "ovs-net-vlan-hashicups"
	// coffeesURL is what the pod load-testing reaches nginx by.
	coffeesURL = "http://" + VirtualIP + ":9099/api"
)

// HashiCupsApps are the values of the label app of the pods, in the order in
// which the thesis starts them.
func HashiCupsApps() []string {
	return []string{"postgres", "payments", "products-api", "public-api", "frontend", "nginx", "load-testing"}
}

// ApplyHashiCups applies the manifests of HashiCups and waits until all pods
// are ready. It returns these by their label app.
func (c *Cluster) ApplyHashiCups() map[string]corev1.Pod {
	c.t.Helper()
	if folder := os.Getenv(manifestsVariable); folder != "" {
		c.t.Logf("manifests: %s", folder)
		c.Apply(folder)
	} else {
		c.ApplyText(hashicups)
	}
	pods := map[string]corev1.Pod{}
	for _, app := range HashiCupsApps() {
		pods[app] = c.Ready("app", app)
	}
	return pods
}

// Coffees asks for the coffees from inside a pod whose upstream is nginx at
// port 9099, through all of HashiCups down to its database. It returns their
// names.
func (c *Cluster) Coffees(pod corev1.Pod) ([]string, error) {
	client := c.HTTPClient(pod)
	response, err := client.Post(coffeesURL, "application/json", strings.NewReader(`{"query": "query GetCoffees { coffees { id name price } }"}`))
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Data struct {
			Coffees []struct{ Name string }
		}
		Errors []json.RawMessage
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d: %s", response.StatusCode, text)
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return nil, fmt.Errorf("read %s: %w", text, err)
	}
	if len(answer.Errors) > 0 || len(answer.Data.Coffees) == 0 {
		return nil, errors.New(string(text))
	}
	var names []string
	for _, coffee := range answer.Data.Coffees {
		names = append(names, coffee.Name)
	}
	return names, nil
}
