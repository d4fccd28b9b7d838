package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"meshlab.dev/meshlab/controller/kube/deploy"
	"meshlab.dev/meshlab/terraform"
	"meshlab.dev/meshlab/terraform/standin"
)

const (
	// defaultCloudLab is the name of a lab in the cloud that none was given.
	defaultCloudLab = "meshlab"
	// shortestTTL leaves time to make the lab before it deletes itself.
	shortestTTL = 30 * time.Minute
	// defaultKubernetes is a minor version that AKS supports until March 2027, and
	// the last that takes the containerd 1.7 of Ubuntu 24.04.
	// https://learn.microsoft.com/azure/aks/supported-kubernetes-versions
	defaultKubernetes = "1.35"
)

func newCloud() *cobra.Command {
	c := &cobra.Command{
		Use:   "cloud",
		Short: "The thesis' two clusters in Azure: make them, see what they cost, remove them",
		Long: `Make the thesis' two clusters in Azure, by Terraform: AKS with Consul Connect,
and virtual machines with kubeadm and Open vSwitch. Azure costs money from the
moment that something exists until it is removed: every verb says how much.
Nothing is open to the world: SSH and the API servers answer your address alone.

What 'meshlab cloud up' needs: terraform 1.9 or newer on the PATH, a login of
Azure (az login, or a service principal in ARM_CLIENT_ID, ARM_TENANT_ID and
ARM_CLIENT_SECRET, with ARM_SUBSCRIPTION_ID), and --from, your address.

--stand-in FILE rehearses all of it without Azure: stand-ins take the place of
Terraform's providers and write into FILE what would exist. Nothing real is made
then, and nothing is paid. docs/azure.md goes through it step by step, and says
what has been tried with stand-ins only.`,
		Example: `  meshlab cloud plan --from 198.51.100.7
  meshlab cloud up --from 198.51.100.7 --ttl 3h
  meshlab cloud bench --quick
  meshlab cloud status
  meshlab cloud down
  meshlab cloud up rehearsal --from 198.51.100.7 --stand-in /tmp/cloud.json --yes`,
	}
	c.AddCommand(newCloudPlan(), newCloudUp(), newCloudKubeconfig(), newCloudBench(), newCloudStatus(), newCloudDown())
	return c
}

// cloudFlags are what plan and up take.
type cloudFlags struct {
	clusters, backendConfig                []string
	location, from, size, backend, standIn string
	kubernetes                             string
	nodes                                  int
	bastion                                bool
	ttl                                    time.Duration
}

func (f *cloudFlags) add(c *cobra.Command) {
	c.Flags().StringSliceVar(&f.clusters, "clusters", []string{"aks", "ovs"}, "what to make: aks (AKS with Consul Connect), ovs (virtual machines with Open vSwitch), or both")
	c.Flags().StringVar(&f.location, "location", "eastus", "Azure's region")
	c.Flags().StringVar(&f.from, "from", "", "your public IPv4 address, or a CIDR of /24 or narrower: all that may reach SSH and the API servers (curl -4 ifconfig.me tells it)")
	c.Flags().StringVar(&f.size, "size", "Standard_B2ms", "size of the nodes, the thesis' by default")
	c.Flags().IntVar(&f.nodes, "nodes", 2, "nodes of each cluster")
	c.Flags().StringVar(&f.kubernetes, "kubernetes", defaultKubernetes, "minor version of Kubernetes in both clusters, one that AKS offers (az aks get-versions)")
	c.Flags().BoolVar(&f.bastion, "bastion", false, "reach the virtual machines through Azure Bastion, without public addresses; costs extra, and bench cannot reach them")
	c.Flags().DurationVar(&f.ttl, "ttl", 0, "after that time, as 3h, Azure tries to delete the lab by itself, whether this machine is there or not (default: never)")
	c.Flags().StringVar(&f.backend, "backend", "azurerm", "with --backend-config: Terraform's backend that keeps the state")
	c.Flags().StringArrayVar(&f.backendConfig, "backend-config", nil, "a setting KEY=VALUE of the backend; without any, the state is in the lab's own folder")
	c.Flags().StringVar(&f.standIn, "stand-in", "", "rehearse: use stand-ins instead of Azure, which write into this file what would exist")
}

// settings are those of an earlier run, with what flags say now, or new ones.
func (f *cloudFlags) settings(c *cobra.Command, name string, now time.Time) (terraform.Settings, error) {
	s, err := terraform.LoadSettings(cloudDir(name))
	isNew := errors.Is(err, terraform.ErrNoLab)
	if err != nil && !isNew {
		return s, err
	}
	given := func(flag string) bool { return isNew || c.Flags().Changed(flag) }
	s.Name = name
	if given("clusters") {
		s.Clusters = f.clusters
	}
	if given("location") {
		s.Location = f.location
	}
	if given("size") {
		s.Size = f.size
	}
	if given("nodes") {
		s.Nodes = f.nodes
	}
	if given("kubernetes") {
		if s.Kubernetes = f.kubernetes; !minorVersion.MatchString(s.Kubernetes) {
			return s, usageError{fmt.Errorf("--kubernetes %s: a minor version, as %s", f.kubernetes, defaultKubernetes)}
		}
	}
	if given("bastion") {
		s.Bastion = f.bastion
	}
	if given("from") {
		if s.From, err = callerCIDR(f.from); err != nil {
			return s, err
		}
	}
	if c.Flags().Changed("ttl") {
		if f.ttl < shortestTTL {
			return s, usageError{fmt.Errorf("--ttl %s: at least %s, making a lab takes a while", f.ttl, shortestTTL)}
		}
		at := now.Add(f.ttl).UTC().Truncate(time.Second)
		s.Expires = &at
	}
	if s.Expires != nil && s.Expires.Before(now) {
		return s, fmt.Errorf("lab %s: the time of its --ttl, %s, is over; give a new --ttl, or remove what is left: meshlab cloud down %s", name, localTime(*s.Expires), name)
	}
	if len(f.backendConfig) > 0 {
		s.Backend = &terraform.Backend{Kind: f.backend, Config: f.backendConfig}
	}
	if isNew { // later versions of meshlab write others, and other data makes Azure replace the machine
		if s.Manifest, err = cloudManifest(); err != nil {
			return s, err
		}
	}
	if c.Flags().Changed("stand-in") {
		if !isNew && s.StandIns == "" {
			return s, usageError{fmt.Errorf("--stand-in: lab %s is in Azure already; take another name", name)}
		}
		if s.StandIns, err = filepath.Abs(f.standIn); err != nil {
			return s, err
		}
	}
	return s, nil
}

var minorVersion = regexp.MustCompile(`^1\.[0-9]{2}$`)

// cloudVIP is the virtual address of upstreams in the cluster with Open
// vSwitch, the thesis'.
const cloudVIP = "10.1.1.254"

// cloudManifest is what runs the agent in the cluster with Open vSwitch, with
// services of the cluster. Nodes pull the image themselves, so kubelet needs
// no password of the registry.
func cloudManifest() (string, error) {
	v, err := deploy.Parse(nil, func(values map[string]any) {
		values["image"] = terraform.ImageWord
		values["config"].(map[string]any)["vip"] = cloudVIP
	})
	if err != nil {
		return "", fmt.Errorf("write the manifests of the agent: %w", err)
	}
	return v.Plain()
}

// callerCIDR makes a CIDR of an address; one that is wider than /24 is refused.
func callerCIDR(text string) (string, error) {
	if text == "" {
		return "", usageError{errors.New("--from is missing: your public IPv4 address, which alone may reach the lab; `curl -4 ifconfig.me` tells it")}
	}
	if a, err := netip.ParseAddr(text); err == nil && a.Is4() {
		return text + "/32", nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil || !p.Addr().Is4() {
		return "", usageError{fmt.Errorf("--from %s: want an IPv4 address, as 198.51.100.7, or a CIDR", text)}
	}
	if p.Bits() < 24 {
		return "", usageError{fmt.Errorf("--from %s: these are more than 256 addresses; a lab is not open to the world, give /24 or narrower", text)}
	}
	return p.Masked().String(), nil
}

// cloudRoot is where the folders of this user's labs in the cloud are.
func cloudRoot() string {
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "meshlab", "cloud")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		home = string(filepath.Separator)
	}
	return filepath.Join(home, ".local", "state", "meshlab", "cloud")
}

func cloudDir(name string) string { return filepath.Join(cloudRoot(), name) }

// cloudLabs are the names of this user's labs in the cloud.
func cloudLabs() ([]string, error) {
	found, err := filepath.Glob(filepath.Join(cloudRoot(), "*", "lab.json"))
	if err != nil {
		return nil, err
	}
	var all []string
	for _, f := range found {
		all = append(all, filepath.Base(filepath.Dir(f)))
	}
	return all, nil
}

// cloudName is the lab that a verb means: the named one, or the only one.
func cloudName(args []string) (string, error) {
	if len(args) > 0 {
		if args[0] == "" || strings.ContainsAny(args[0], "/.") {
			return "", usageError{fmt.Errorf("name %q: lower-case letters, digits and hyphens", args[0])}
		}
		return args[0], nil
	}
	all, err := cloudLabs()
	switch {
	case err != nil:
		return "", err
	case len(all) == 0:
		return defaultCloudLab, nil
	case len(all) == 1:
		return all[0], nil
	}
	slices.Sort(all)
	return "", usageError{fmt.Errorf("there are several labs in the cloud, say which: %s", strings.Join(all, ", "))}
}

// openCloud opens a lab's folder, with stand-ins when it has any.
func openCloud(c *cobra.Command, s terraform.Settings) (*terraform.Lab, error) {
	path, err := terraform.Find()
	if err != nil {
		return nil, err
	}
	cfg := terraform.Config{Dir: cloudDir(s.Name), Terraform: path, Settings: s, Doing: c.Name()}
	if s.StandIns != "" {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		dir := filepath.Join(cfg.Dir, "stand-ins")
		if cfg.CLIConfig, err = standin.Mirror(dir, standin.Cloud{Path: s.StandIns}, self, standInVerb); err != nil {
			return nil, err
		}
		cfg.Environment = append(cfg.Environment, "ARM_SUBSCRIPTION_ID=00000000-0000-0000-0000-000000000000")
	}
	return terraform.Open(c.Context(), cfg)
}

const standInVerb = "stand-in-provider"

// newStandIn is what Terraform starts as a provider when a lab has stand-ins.
func newStandIn() *cobra.Command {
	return &cobra.Command{
		Use:    standInVerb + " PROVIDER CLOUD",
		Short:  "A stand-in for a provider of Terraform",
		Hidden: true,
		Args:   cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return standin.Serve(c.Context(), args[0], standin.Cloud{Path: args[1]})
		},
	}
}
