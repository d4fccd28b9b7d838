package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	clientapi "k8s.io/client-go/tools/clientcmd/api"

	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/terraform/remote"
	"meshlab.dev/meshlab/terraform/remote/remotetest"
)

// someNodes are a control plane and nodes for pods of which so many are ready.
func someNodes(ready, of int, images ...string) []corev1.Node {
	all := []corev1.Node{{ObjectMeta: metav1.ObjectMeta{Name: "plane", Labels: map[string]string{controlPlane: ""}},
		Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}}}}
	for i := range of {
		n := corev1.Node{Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionFalse}}, Images: []corev1.ContainerImage{{Names: images}}}}
		if i < ready {
			n.Status.Conditions[0].Status = corev1.ConditionTrue
		}
		all = append(all, n)
	}
	return all
}

func TestEnough(t *testing.T) {
	for name, tc := range map[string]struct {
		cluster string
		workers int
		nodes   []corev1.Node
		image   string
		want    string
	}{
		"none":                     {ovsCluster, 2, nil, "", "0 of 2 nodes are ready"},
		"one of two":               {ovsCluster, 2, someNodes(1, 2), "", "1 of 2 nodes are ready"},
		"both":                     {ovsCluster, 2, someNodes(2, 2), "", ""},
		"without the image":        {ovsCluster, 2, someNodes(2, 2, "r/meshlab:old"), "r/meshlab:new", "0 of 2 nodes have pulled the image"},
		"with it":                  {ovsCluster, 2, someNodes(2, 2, "r/meshlab@sha256:1", "r/meshlab:new"), "r/meshlab:new", ""},
		"control plane only":       {ovsCluster, 1, someNodes(0, 0), "", "0 of 1 nodes are ready"},
		"and the image":            {ovsCluster, 1, someNodes(0, 0), "r/meshlab:new", "0 of 1 nodes are ready"},
		"control plane and one":    {ovsCluster, 1, someNodes(1, 1), "", ""},
		"the only node of another": {aksCluster, 1, someNodes(0, 0), "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := cloudCluster{name: tc.cluster, workers: tc.workers}.enough(tc.nodes, tc.image)
			if got := errText(err); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// A stand-in for an API server: it lists nodes, of which one more is ready each
// time. The kubeconfig is of it.
func listOfNodes(t *testing.T) string {
	t.Helper()
	var asked atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path != "/api/v1/nodes" {
			agentAPI(w, r)
			return
		}
		list := corev1.NodeList{TypeMeta: metav1.TypeMeta{Kind: "NodeList", APIVersion: "v1"}, Items: someNodes(int(asked.Add(1)), 2)}
		_ = json.NewEncoder(w).Encode(list)
	}))
	t.Cleanup(s.Close)
	return writeKubeconfig(t, s.URL)
}

// agentAPI takes what the agent's manifests make, and says that it runs.
func agentAPI(w http.ResponseWriter, r *http.Request) {
	kinds := map[string]map[string]string{
		"v1":                           {"ServiceAccount": "serviceaccounts", "ConfigMap": "configmaps"},
		"apps/v1":                      {"DaemonSet": "daemonsets"},
		"rbac.authorization.k8s.io/v1": {"ClusterRole": "clusterroles", "ClusterRoleBinding": "clusterrolebindings"},
		"k8s.cni.cncf.io/v1":           {"NetworkAttachmentDefinition": "network-attachment-definitions"},
	}
	group := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/apis/"), "/api/")
	var answer any
	switch {
	case r.URL.Path == "/api":
		answer = metav1.APIVersions{Versions: []string{"v1"}}
	case r.URL.Path == "/apis":
		var list metav1.APIGroupList
		for version := range kinds {
			if name, v, ok := strings.Cut(version, "/"); ok {
				gv := metav1.GroupVersionForDiscovery{GroupVersion: version, Version: v}
				list.Groups = append(list.Groups, metav1.APIGroup{Name: name, Versions: []metav1.GroupVersionForDiscovery{gv}, PreferredVersion: gv})
			}
		}
		answer = list
	case kinds[group] != nil:
		list := metav1.APIResourceList{GroupVersion: group}
		for kind, name := range kinds[group] {
			list.APIResources = append(list.APIResources, metav1.APIResource{Name: name, Kind: kind, Namespaced: !strings.HasPrefix(kind, "Cluster")})
		}
		answer = list
	case r.Method == http.MethodPatch:
		text, _ := io.ReadAll(r.Body)
		_, _ = w.Write(text)
		return
	default: // the DaemonSet
		answer = appsv1.DaemonSet{Status: appsv1.DaemonSetStatus{DesiredNumberScheduled: 2, UpdatedNumberScheduled: 2, NumberReady: 2}}
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func kubeconfigOf(server string) []byte {
	c := clientapi.NewConfig()
	c.Clusters["k"], c.AuthInfos["u"], c.Contexts["x"] = &clientapi.Cluster{Server: server}, &clientapi.AuthInfo{Token: "secret"}, &clientapi.Context{Cluster: "k", AuthInfo: "u"}
	c.CurrentContext = "x"
	text, _ := clientcmd.Write(*c) // of these values it cannot fail
	return text
}

func writeKubeconfig(t *testing.T, server string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(path, kubeconfigOf(server), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Both clusters are measured once their nodes are ready, and their results belong
// together; what fails in one takes nothing from the other.
func TestCloudBenchClusters(t *testing.T) {
	good := func(k kubeBench, _ context.Context, p *progress) (*scenarios.Result, error) {
		p.line("measuring")
		return &scenarios.Result{SchemaVersion: scenarios.SchemaVersion, ID: "result-" + k.Meshes[1], Environment: scenarios.Environment{Group: k.Group}}, nil
	}
	for name, tc := range map[string]struct {
		change  func(all []cloudCluster)
		measure func(kubeBench, context.Context, *progress) (*scenarios.Result, error)
		want    []string // of the error
		files   int
	}{
		"both": {nil, good, nil, 2},
		"one cannot be reached": {func(all []cloudCluster) { all[1].err = errors.New("no address") }, good,
			[]string{"cluster ovs: no address", "the results of cluster aks are kept"}, 1},
		"one fails": {nil, func(k kubeBench, ctx context.Context, p *progress) (*scenarios.Result, error) {
			if k.Meshes[1] == "consul-connect" {
				return nil, errors.New("the load pod has died")
			}
			return good(k, ctx, p)
		}, []string{"cluster aks: the load pod has died", "the results of cluster ovs are kept"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := []cloudCluster{
				{name: aksCluster, workers: 2, kubeconfig: listOfNodes(t), meshes: []string{"direct", "consul-connect"}},
				{name: ovsCluster, workers: 2, kubeconfig: listOfNodes(t), meshes: []string{"direct", "ovs"}},
			}
			if tc.change != nil {
				tc.change(all)
			}
			var said strings.Builder
			b := cloudBench{measure: tc.measure, out: t.TempDir()}
			done := b.clusters(t.Context(), &progress{w: &said}, all, "r/meshlab:x", "mine-1")
			err := failures(done)
			if (err == nil) != (len(tc.want) == 0) {
				t.Fatalf("%v\n%s", err, said.String())
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error lacks %q: %v", want, err)
				}
			}
			files := 0
			for _, m := range done {
				if m.Path == "" {
					continue
				}
				files++
				r, err := scenarios.ReadFile(m.Path)
				if err != nil || r.Environment.Group != "mine-1" {
					t.Errorf("%s: %v, group %q", m.Path, err, r.Environment.Group)
				}
			}
			if files != tc.files || !strings.Contains(said.String(), "aks: cluster") || tc.change == nil && !strings.Contains(said.String(), "ovs: agent") {
				t.Errorf("%d results, want %d; said\n%s", files, tc.files, said.String())
			}
		})
	}
}

// The kubeconfig comes from the control plane as soon as it has one, for this
// user alone, with the address that reaches it from here.
func TestFetchKubeconfig(t *testing.T) {
	host, _ := remotetest.Key(t)
	mine, text := remotetest.Key(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int32
	remotetest.Serve(t, ln, host, mine.PublicKey(), func(command string) (string, error) {
		if command != "sudo cat /etc/kubernetes/admin.conf" || asked.Add(1) == 1 {
			return "", errors.New("No such file or directory")
		}
		return string(kubeconfigOf("https://10.0.2.4:6443")), nil
	})
	dir := t.TempDir()
	m := remote.Machine{User: "meshlab", Address: ln.Addr().String(), Key: filepath.Join(dir, "id"), KnownHosts: filepath.Join(dir, "known_hosts")}
	path := filepath.Join(dir, "ovs.kubeconfig")
	for _, private := range []string{m.Key, path} { // what an earlier run has left
		if err := os.WriteFile(private, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var said strings.Builder
	if err := fetchKubeconfig(t.Context(), &progress{w: &said}, m, path); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the kubeconfig: %v, %v", st, err)
	}
	config, err := clientcmd.LoadFromFile(path)
	if err != nil || config.Clusters["k"].Server != "https://127.0.0.1:6443" || config.AuthInfos["u"].Token != "secret" {
		t.Errorf("the kubeconfig is %+v, %v", config, err)
	}
	if err := reaches(t, config); err != nil {
		t.Errorf("a control plane whose certificate has its own address alone: %v", err)
	}
	// Another machine at that address is not asked again and again.
	stranger, _ := remotetest.Key(t)
	ln.Close()
	if ln, err = net.Listen("tcp", m.Address); err != nil {
		t.Fatal(err)
	}
	remotetest.Serve(t, ln, stranger, mine.PublicKey(), func(string) (string, error) { return "", nil })
	if err := fetchKubeconfig(t.Context(), &progress{w: &said}, m, path); !errors.Is(err, remote.ErrHostKey) || !strings.Contains(err.Error(), m.KnownHosts) {
		t.Errorf("another machine: %v", err)
	}
}

// reaches asks an API server whose certificate has the address inside the network
// alone, as after `up --bastion`, by a kubeconfig.
func reaches(t *testing.T, config *clientapi.Config) error {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(10, 0, 2, 4)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") }))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	to := config.DeepCopy()
	to.Clusters["k"].Server = s.URL
	to.Clusters["k"].CertificateAuthorityData = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	cfg, err := clientcmd.NewDefaultClientConfig(*to, nil).ClientConfig()
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return err
	}
	_, err = client.Discovery().ServerVersion()
	return err
}

// A machine on which Kubernetes could not be installed is not waited for.
func TestFetchKubeconfigOfFailedMachine(t *testing.T) {
	host, _ := remotetest.Key(t)
	mine, text := remotetest.Key(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	remotetest.Serve(t, ln, host, mine.PublicKey(), func(command string) (string, error) {
		if strings.Contains(command, "boot-finished") {
			return "E: Unable to locate package kubeadm\n", nil
		}
		return "", errors.New("No such file or directory")
	})
	dir := t.TempDir()
	m := remote.Machine{User: "meshlab", Address: ln.Addr().String(), Key: filepath.Join(dir, "id"), KnownHosts: filepath.Join(dir, "known_hosts")}
	if err := os.WriteFile(m.Key, text, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err = fetchKubeconfig(ctx, &progress{w: io.Discard}, m, filepath.Join(dir, "ovs.kubeconfig"))
	if err == nil || !strings.Contains(err.Error(), "Unable to locate package kubeadm") {
		t.Errorf("it fails with %v", err)
	}
}

func TestReadManifests(t *testing.T) {
	all, err := readManifests("# IMAGE\n---\nkind: ConfigMap\napiVersion: v1\nmetadata: {name: a}\n---\n\n---\nkind: DaemonSet\napiVersion: apps/v1\nmetadata: {name: b}\n")
	if err != nil || len(all) != 2 || all[1].GetKind() != "DaemonSet" {
		t.Errorf("%v, %v", all, err)
	}
	if _, err := readManifests("kind: [\n"); err == nil {
		t.Error("what is no YAML is taken")
	}
}
