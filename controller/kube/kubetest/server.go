package kubetest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	authentication "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// serviceRange is where services get their addresses. Nothing is there: no
// kube-proxy runs.
const serviceRange = "10.96.0.0/16"

// Server is a running kube-apiserver with its etcd, on the loopback device, and
// where pods look for it if there are any.
type Server struct {
	Config *rest.Config         // of an administrator (group system:masters)
	Client kubernetes.Interface // by Config

	t         testing.TB
	dir       string
	apiserver *daemon
}

// Start starts a kube-apiserver and returns when it is ready. It ends with the
// test.
func Start(t testing.TB) *Server {
	t.Helper()
	inside(t)
	s := &Server{t: t, dir: t.TempDir()}
	etcdURL := s.startEtcd()
	port := freePort(t)
	s.apiserver = s.prepare(port, etcdURL)
	s.apiserver.start(t)
	t.Cleanup(s.apiserver.stop)

	// Tests ask often, and their own client is not to be what is slow.
	s.Config.QPS, s.Config.Burst = -1, 0
	client, err := kubernetes.NewForConfig(s.Config)
	if err != nil {
		t.Fatalf("make client: %v", err)
	}
	s.Client = client
	s.awaitReady()
	return s
}

func (s *Server) startEtcd() (url string) {
	s.t.Helper()
	path, err := programPath(etcdVariable)
	if err != nil {
		s.t.Fatal(err)
	}
	url = "http://" + loopback(freePort(s.t))
	peer := "http://" + loopback(freePort(s.t))
	etcd := &daemon{name: "etcd", path: path, args: []string{
		"--data-dir", filepath.Join(s.dir, "etcd"), "--listen-client-urls", url, "--advertise-client-urls", url,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default=" + peer,
		"--log-level", "warn"}}
	etcd.start(s.t)
	s.t.Cleanup(etcd.stop)
	return url
}

// prepare writes the files of the API server and returns how it starts.
func (s *Server) prepare(port int, etcdURL string) *daemon {
	s.t.Helper()
	path, err := programPath(apiserverVariable)
	if err != nil {
		s.t.Fatal(err)
	}
	a, err := newAuthority()
	if err != nil {
		s.t.Fatal(err)
	}
	own, err := a.sign(pkix.Name{CommonName: "kube-apiserver"}, apiserverAddresses()...)
	if err != nil {
		s.t.Fatal(err)
	}
	admin, err := a.sign(pkix.Name{CommonName: "admin", Organization: []string{"system:masters"}})
	if err != nil {
		s.t.Fatal(err)
	}
	tokens, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	tokenKey, err := encodeKey(tokens)
	if err != nil {
		s.t.Fatal(err)
	}
	file := func(name string) string { return filepath.Join(s.dir, name) }
	if err := writeFiles(s.dir, map[string][]byte{
		"audit.yaml": []byte(auditPolicy), "ca.pem": a.pem, "own.pem": own.certificate, "own.key": own.key, "tokens.key": tokenKey,
	}); err != nil {
		s.t.Fatal(err)
	}
	s.Config = &rest.Config{
		Host:            "https://" + loopback(port),
		TLSClientConfig: rest.TLSClientConfig{CAData: a.pem, CertData: admin.certificate, KeyData: admin.key},
	}
	return &daemon{name: "kube-apiserver", path: path, args: []string{
		"--bind-address=0.0.0.0", "--secure-port=" + strconv.Itoa(port), "--advertise-address=127.0.0.1",
		"--etcd-servers=" + etcdURL, "--service-cluster-ip-range=" + serviceRange,
		"--tls-cert-file=" + file("own.pem"), "--tls-private-key-file=" + file("own.key"), "--client-ca-file=" + file("ca.pem"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + file("tokens.key"), "--service-account-signing-key-file=" + file("tokens.key"),
		"--authorization-mode=RBAC", "--allow-privileged=true",
		"--endpoint-reconciler-type=none", // no pod reaches the loopback device of the machine
		"--audit-policy-file=" + file("audit.yaml"), "--audit-log-path=" + file("audit.log"), "--audit-log-mode=blocking",
		"--profiling=false",
	}}
}

func (s *Server) awaitReady() {
	s.t.Helper()
	Eventually(s.t, "kube-apiserver to be ready", func(ctx context.Context) error {
		if err := s.apiserver.ended(); err != nil {
			s.t.Fatal(err)
		}
		_, err := s.Client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		if err != nil {
			return err
		}
		// Manifests go there, and the server makes it by itself a moment later.
		_, err = s.Client.CoreV1().Namespaces().Get(ctx, metav1.NamespaceDefault, metav1.GetOptions{})
		return err
	})
}

// Stop kills the API server, as an outage does. etcd goes on.
func (s *Server) Stop() { s.apiserver.stop() }

// Resume starts the API server again, at the same address.
func (s *Server) Resume() {
	s.t.Helper()
	s.apiserver.start(s.t)
	s.awaitReady()
}

// Pause stops the API server as a machine that hangs does: connections stay, and
// the kernel takes new ones, but nobody answers.
func (s *Server) Pause() { s.apiserver.signal(s.t, syscall.SIGSTOP) }

// Continue ends Pause.
func (s *Server) Continue() { s.apiserver.signal(s.t, syscall.SIGCONT) }

// ServiceAccount returns the configuration of a service account, by a token
// that the API server has signed: it may do what RBAC gives it, and no more.
func (s *Server) ServiceAccount(namespace, name string) *rest.Config {
	s.t.Helper()
	hour := int64(time.Hour / time.Second)
	token, err := s.Client.CoreV1().ServiceAccounts(namespace).CreateToken(s.t.Context(), name,
		&authentication.TokenRequest{Spec: authentication.TokenRequestSpec{ExpirationSeconds: &hour}}, metav1.CreateOptions{})
	if err != nil {
		s.t.Fatalf("ask for a token of service account %s/%s: %v", namespace, name, err)
	}
	return &rest.Config{
		Host: s.Config.Host, BearerToken: token.Status.Token,
		TLSClientConfig: rest.TLSClientConfig{CAData: s.Config.CAData},
	}
}

// Kubeconfig writes a configuration as the file that programs read, and
// returns its path.
func Kubeconfig(t testing.TB, c *rest.Config) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	err := clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{"kubetest": {Server: c.Host, CertificateAuthorityData: c.CAData}},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{"kubetest": {
			Token: c.BearerToken, ClientCertificateData: c.CertData, ClientKeyData: c.KeyData,
		}},
		Contexts:       map[string]*clientcmdapi.Context{"kubetest": {Cluster: "kubetest", AuthInfo: "kubetest"}},
		CurrentContext: "kubetest",
	}, path)
	if err != nil {
		t.Fatalf("write kubeconfig: %v", err)
	}
	return path
}

// daemon is a program that runs until it is stopped.
type daemon struct {
	name, path string
	args       []string

	mu   sync.Mutex
	cmd  *exec.Cmd
	out  bytes.Buffer
	done chan struct{}
}

func (d *daemon) start(t testing.TB) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cmd != nil {
		t.Fatalf("start %s: it runs", d.name)
	}
	d.out.Reset()
	d.cmd, d.done = exec.Command(d.path, d.args...), make(chan struct{})
	d.cmd.Stdout, d.cmd.Stderr = &d.out, &d.out
	d.cmd.Env = append(os.Environ(), "ETCD_UNSUPPORTED_ARCH="+runtime.GOARCH) // etcd 3.4 asks for that on arm64
	if err := d.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", d.name, err)
	}
	go func(cmd *exec.Cmd, done chan struct{}) {
		_ = cmd.Wait() // how it ended is in what it printed
		close(done)
	}(d.cmd, d.done)
}

// ended returns an error with what the program printed if it has ended.
func (d *daemon) ended() error {
	select {
	case <-d.done:
		return fmt.Errorf("%s ended; it printed:\n%s", d.name, d.out.Bytes())
	default:
		return nil
	}
}

// signal sends a signal to the program, which must run.
func (d *daemon) signal(t testing.TB, sig os.Signal) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cmd == nil {
		t.Fatalf("signal %s: it does not run", d.name)
	}
	if err := d.cmd.Process.Signal(sig); err != nil {
		t.Fatalf("signal %s: %v", d.name, err)
	}
}

// stop kills the program and waits for its end. It may be called again.
func (d *daemon) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cmd == nil {
		return
	}
	_ = d.cmd.Process.Kill()
	<-d.done
	d.cmd = nil
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// freePort returns a port that nobody has now. In a network namespace of its
// own nobody but this program's tests can take it.
func freePort(t testing.TB) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}
