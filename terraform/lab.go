package terraform

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/terraform-exec/tfexec"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// Settings are what a user decides about a lab in the cloud. Once they have been
// agreed to they are kept in its folder, so that later runs need none of them.
type Settings struct {
	Name     string     `json:"name"`
	Suffix   string     `json:"suffix"` // makes names unique that all of Azure shares
	Location string     `json:"location"`
	Clusters []string   `json:"clusters"` // aks, ovs
	From     string     `json:"from"`     // IPv4 CIDR of the caller
	Bastion  bool       `json:"bastion"`
	Expires  *time.Time `json:"expires,omitempty"` // when it is wanted to go; nil: never. Expires tells what is in force
	Size     string     `json:"size"`              // of nodes
	Nodes    int        `json:"nodes"`             // of each cluster
	Backend  *Backend   `json:"backend,omitempty"` // nil: the state is in the lab's folder
	StandIns string     `json:"stand_ins,omitempty"`
	// Kubernetes is the minor version in both clusters; empty: the modules'.
	Kubernetes string `json:"kubernetes,omitempty"`
	// Subscription is the ID of the one that the lab was made in. Whoever has
	// turned to another one since must not look for the lab there.
	Subscription string `json:"subscription,omitempty"`
	Manifest     string `json:"manifest,omitempty"` // of the mesh agent, with ImageWord in it
}

// ImageWord stands for the image of the lab's registry in the agent's
// manifests: Terraform puts that in its place.
const ImageWord = "IMAGE"

// Backend is a backend of Terraform that keeps the state elsewhere.
type Backend struct {
	Kind   string   `json:"kind"`   // azurerm, ...
	Config []string `json:"config"` // KEY=VALUE
}

var nameRule = regexp.MustCompile(`^[a-z][a-z0-9-]{0,18}[a-z0-9]$`)

func (s Settings) validate() error {
	switch {
	case !nameRule.MatchString(s.Name):
		return fmt.Errorf("name %q: a lab's name is 2 to 20 lower-case letters, digits and hyphens, and begins with a letter", s.Name)
	case len(s.Clusters) == 0:
		return errors.New("there is no cluster to make: aks, ovs, or both")
	case s.Nodes < 1 || s.Nodes > 50:
		return fmt.Errorf("%d nodes: a cluster has 1 to 50", s.Nodes)
	}
	for _, c := range s.Clusters {
		if c != "aks" && c != "ovs" {
			return fmt.Errorf("cluster %q: it is aks or ovs", c)
		}
	}
	return nil
}

// Config says where a lab is and how Terraform is run.
type Config struct {
	Dir         string   // the lab's folder, for the owner alone
	Terraform   string   // path of the program
	Settings    Settings // without them, those of the folder
	CLIConfig   string   // Terraform's configuration; empty: the user's. Set with stand-ins
	Environment []string // KEY=VALUE, beyond this process' own
	Doing       string   // the verb, for whoever finds the folder locked
}

// Lab is a lab in the cloud, whose folder is locked. It is not safe for
// concurrent use.
type Lab struct {
	Settings Settings
	Version  string // of Terraform

	dir   string
	work  string // where Terraform runs
	tf    *tfexec.Terraform
	lock  *os.File
	inits bool

	shown    Plan   // the last one
	releases []Item // of Helm, that Apply takes out of the state first
}

// ErrNoLab says that a folder holds no lab.
var ErrNoLab = errors.New("there is no such lab in the cloud")

// BusyError says who works on the lab already.
type BusyError struct{ Dir, Holder string }

func (e *BusyError) Error() string {
	return fmt.Sprintf("another run works on this lab: %s; wait for it (its folder is %s)", e.Holder, e.Dir)
}

// LoadSettings reads the settings of the lab in a folder. The error matches
// ErrNoLab when there is none, or one that has been planned only.
func LoadSettings(dir string) (Settings, error) {
	var s Settings
	text, err := os.ReadFile(filepath.Join(dir, settingsFile))
	if errors.Is(err, os.ErrNotExist) {
		return s, ErrNoLab
	}
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("read %s: %w", filepath.Join(dir, settingsFile), err)
	}
	return s, nil
}

const (
	settingsFile = "lab.json"
	keyFile      = "id_rsa"
	tokenFile    = "join-token"
	planFile     = "plan"
)

// Open takes a lab's folder and writes the configuration into it. It makes
// nothing in the cloud, and does not keep the settings: Keep does. The error is
// a *BusyError when another run holds the folder.
func Open(ctx context.Context, c Config) (*Lab, error) {
	s := c.Settings
	if err := s.validate(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the lab's folder: %w", err)
	}
	lock, err := takeLock(c.Dir, c.Doing)
	if err != nil {
		return nil, err
	}
	l := &Lab{dir: c.Dir, work: filepath.Join(c.Dir, "terraform", rootFolder), lock: lock}
	if err := l.open(ctx, c, s); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

func (l *Lab) open(ctx context.Context, c Config, s Settings) (err error) {
	if s.Suffix == "" {
		if s.Suffix, err = randomText(5); err != nil {
			return err
		}
	}
	l.Settings = s
	if err := write(filepath.Join(c.Dir, "terraform"), s.StandIns != ""); err != nil {
		return err
	}
	if err := l.writeBackend(); err != nil {
		return err
	}
	if err := l.writeVariables(); err != nil {
		return err
	}
	if l.tf, err = tfexec.NewTerraform(l.work, c.Terraform); err != nil {
		return err
	}
	// What was begun is finished and written down after Ctrl-C, which takes as
	// long as Azure takes.
	if err := l.tf.SetWaitDelay(30 * time.Minute); err != nil {
		return err
	}
	if err := l.tf.SetEnv(environment(c)); err != nil {
		return err
	}
	l.Version, err = checkVersion(ctx, l.tf)
	return err
}

// environment is this process', without what tfexec sets itself.
func environment(c Config) map[string]string {
	env := map[string]string{"CHECKPOINT_DISABLE": "1"}
	for _, kv := range slices.Concat(os.Environ(), c.Environment) {
		k, v, _ := strings.Cut(kv, "=")
		env[k] = v
	}
	if id := c.Settings.Subscription; id != "" {
		env["ARM_SUBSCRIPTION_ID"] = id
	}
	env = tfexec.CleanEnv(env)
	if c.CLIConfig != "" {
		env["TF_CLI_CONFIG_FILE"] = c.CLIConfig
	}
	return env
}

// Keep writes the settings into the folder: later runs go by them.
func (l *Lab) Keep() error { return writeJSON(filepath.Join(l.dir, settingsFile), l.Settings) }

// Close gives the folder back.
func (l *Lab) Close() { _ = l.lock.Close() }

// Forget removes the lab's folder; only when nothing of it exists any more.
func (l *Lab) Forget() error { return os.RemoveAll(l.dir) }

// Discard removes what planning has left in the folder of a lab that was never
// made. Where there is no folder it does nothing.
func Discard(dir, doing string) error {
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	lock, err := takeLock(dir, doing)
	if err != nil {
		return err
	}
	defer lock.Close()
	if _, err := LoadSettings(dir); !errors.Is(err, ErrNoLab) {
		return fmt.Errorf("%s holds a lab: it was made meanwhile", dir)
	}
	return os.RemoveAll(dir)
}

// SSHKey is the path of the private key that the lab's machines let in.
func (l *Lab) SSHKey() string { return filepath.Join(l.dir, keyFile) }

// KnownHosts is the path of the host keys of the lab's machines.
func (l *Lab) KnownHosts() string { return filepath.Join(l.dir, "known_hosts") }

// Kubeconfig is the path of a cluster's kubeconfig: of aks or ovs.
func (l *Lab) Kubeconfig(cluster string) string { return filepath.Join(l.dir, cluster+".kubeconfig") }

// takeLock locks the folder until the file is closed or this process ends.
func takeLock(dir, doing string) (*os.File, error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the lab's folder: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock the lab's folder %s: %w", dir, err)
		}
		holder, _ := os.ReadFile(path)
		return nil, &BusyError{dir, strings.TrimSpace(string(holder))}
	}
	text := fmt.Sprintf("`meshlab cloud %s`, process %d, since %s\n", doing, os.Getpid(), time.Now().Format("15:04:05"))
	if err := errors.Join(f.Truncate(0), writeAt(f, text)); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock the lab's folder: %w", err)
	}
	return f, nil
}

func writeAt(f *os.File, text string) error {
	_, err := f.WriteAt([]byte(text), 0)
	return err
}

// writeBackend tells Terraform where the state is. A file of overrides is read
// last.
func (l *Lab) writeBackend() error {
	path := filepath.Join(l.work, "backend_override.tf.json")
	if l.Settings.Backend == nil {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return nil
	}
	return writeJSON(path, map[string]any{"terraform": map[string]any{"backend": map[string]any{l.Settings.Backend.Kind: map[string]any{}}}})
}

// writeVariables writes the values of the configuration's variables. Keys and
// tokens are made once, and stay.
func (l *Lab) writeVariables() error {
	public, err := ensureKey(filepath.Join(l.dir, keyFile))
	if err != nil {
		return fmt.Errorf("make the lab's SSH key: %w", err)
	}
	token, err := ensureToken(filepath.Join(l.dir, tokenFile))
	if err != nil {
		return fmt.Errorf("make the token by which nodes join: %w", err)
	}
	s := l.Settings
	v := map[string]any{
		"name": s.Name, "suffix": s.Suffix, "location": s.Location, "clusters": s.Clusters,
		"access_cidr": s.From, "access": "address", "node_size": s.Size, "node_count": s.Nodes,
		"ssh_public_key": public, "join_token": token, "agent_manifest": s.Manifest, "expires": "",
	}
	if s.Kubernetes != "" {
		v["kubernetes_version"] = s.Kubernetes
	}
	if s.Bastion {
		v["access"] = "bastion"
	}
	if s.Expires != nil {
		v["expires"] = s.Expires.UTC().Format(time.RFC3339)
	}
	return writeJSON(filepath.Join(l.work, "terraform.tfvars.json"), v)
}

func writeJSON(path string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o600)
}

// ensureKey makes an RSA key, if there is none, and returns its public half.
// RSA, because Azure's machines take it everywhere.
func ensureKey(path string) (public string, err error) {
	if text, err := os.ReadFile(path + ".pub"); err == nil {
		return strings.TrimSpace(string(text)), nil
	}
	key, err := rsa.GenerateKey(rand.Reader, 3072)
	if err != nil {
		return "", err
	}
	block, err := ssh.MarshalPrivateKey(key, "meshlab")
	if err != nil {
		return "", err
	}
	pub, err := ssh.NewPublicKey(&key.PublicKey)
	if err != nil {
		return "", err
	}
	line := ssh.MarshalAuthorizedKey(pub)
	if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
		return "", err
	}
	return strings.TrimSpace(string(line)), os.WriteFile(path+".pub", line, 0o600)
}

// ensureToken makes a token of kubeadm's form, if there is none.
func ensureToken(path string) (string, error) {
	if text, err := os.ReadFile(path); err == nil {
		return strings.TrimSpace(string(text)), nil
	}
	id, err := randomText(6)
	if err != nil {
		return "", err
	}
	secret, err := randomText(16)
	if err != nil {
		return "", err
	}
	token := id + "." + secret
	return token, os.WriteFile(path, []byte(token+"\n"), 0o600)
}

// randomText is that many lower-case letters and digits.
func randomText(n int) (string, error) {
	const from = "abcdefghijklmnopqrstuvwxyz0123456789"
	b := make([]byte, n)
	for i := range b {
		k, err := rand.Int(rand.Reader, big.NewInt(int64(len(from))))
		if err != nil {
			return "", err
		}
		b[i] = from[k.Int64()]
	}
	return string(b), nil
}
