package terraform

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-exec/tfexec"

	"meshlab.dev/meshlab/terraform/standin"
)

// This program is the stand-in for a provider when Terraform starts it so.
const standInArgument = "stand-in-provider"

func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == standInArgument {
		if err := standin.Serve(context.Background(), os.Args[2], standin.Cloud{Path: os.Args[3]}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// terraformPath is Terraform, which the tests need: without it they fail and
// are not skipped.
func terraformPath(t *testing.T) string {
	t.Helper()
	path, err := Find()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func standIns(t *testing.T) (config string, cloud standin.Cloud) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cloud = standin.Cloud{Path: filepath.Join(dir, "cloud.json")}
	config, err = standin.Mirror(dir, cloud, self, standInArgument)
	if err != nil {
		t.Fatal(err)
	}
	return config, cloud
}

func TestModulesAreFormatted(t *testing.T) {
	cmd := exec.Command(terraformPath(t), "fmt", "-check", "-recursive", "-diff", ".")
	cmd.Env = append(os.Environ(), "TF_CLI_CONFIG_FILE=/dev/null", "CHECKPOINT_DISABLE=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("run terraform fmt -recursive terraform: %v\n%s", err, out)
	}
}

// The modules name no attribute that the providers do not have, and all that
// they require.
func TestModulesValidate(t *testing.T) {
	for name, tc := range map[string]struct{ file, old, new, want string }{
		"as they are":              {},
		"an attribute's name":      {"modules/registry/main.tf", "admin_enabled ", "admin_enabeld ", `An argument named "admin_enabeld" is not expected`},
		"an attribute is missing":  {"modules/network/main.tf", "allocation_method   = \"Static\"", "", `"allocation_method" is required`},
		"a block is missing":       {"modules/ovs-cluster/main.tf", "  os_disk {\n    caching              = \"ReadWrite\"\n    storage_account_type = \"StandardSSD_LRS\"\n    disk_size_gb         = 32\n  }\n", "", "Insufficient os_disk blocks"},
		"what is computed is set":  {"modules/registry/main.tf", "admin_enabled          = false", "login_server = \"x\"", "Read-Only Attribute"},
		"an attribute of a result": {"modules/registry/outputs.tf", "lab.login_server", "lab.server", "Unsupported attribute"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at := t.TempDir()
			if err := write(at, true); err != nil {
				t.Fatal(err)
			}
			if tc.file != "" {
				text, err := os.ReadFile(filepath.Join(at, tc.file))
				if err != nil {
					t.Fatal(err)
				}
				changed := strings.Replace(string(text), tc.old, tc.new, 1)
				if changed == string(text) {
					t.Fatalf("%s does not hold %q", tc.file, tc.old)
				}
				if err := os.WriteFile(filepath.Join(at, tc.file), []byte(changed), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got := validate(t, filepath.Join(at, rootFolder))
			if (tc.want == "") != (got == "") || !strings.Contains(got, tc.want) {
				t.Errorf("terraform validate says %q, want %q", got, tc.want)
			}
		})
	}
}

func validate(t *testing.T, dir string) string {
	t.Helper()
	config, _ := standIns(t)
	tf, err := tfexec.NewTerraform(dir, terraformPath(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := tf.SetEnv(map[string]string{"TF_CLI_CONFIG_FILE": config, "CHECKPOINT_DISABLE": "1", "PATH": os.Getenv("PATH"), "HOME": os.Getenv("HOME")}); err != nil {
		t.Fatal(err)
	}
	if err := tf.Init(t.Context(), tfexec.Backend(false)); err != nil {
		t.Fatal(err)
	}
	got, err := tf.Validate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, d := range got.Diagnostics {
		if d.Severity == "error" {
			all = append(all, d.Summary+": "+d.Detail)
		}
	}
	return strings.Join(all, "; ")
}

// The rules that keep a lab closed, held against the text of the modules.
func TestModulesAreClosed(t *testing.T) {
	for name, bad := range map[string]*regexp.Regexp{
		"a rule that lets the world in":      regexp.MustCompile(`source_address_prefix\s*=\s*"(\*|0\.0\.0\.0/0|Internet)"`),
		"a list that lets the world in":      regexp.MustCompile(`0\.0\.0\.0/0`),
		"a password for machines":            regexp.MustCompile(`admin_password|disable_password_authentication\s*=\s*false`),
		"the registry's password":            regexp.MustCompile(`admin_enabled\s*=\s*true|anonymous_pull_enabled\s*=\s*true`),
		"a role over more than it needs":     regexp.MustCompile(`role_definition_name\s*=\s*"(Owner|User Access Administrator)"`),
		"a role over the whole subscription": regexp.MustCompile(`scope\s*=\s*.*subscription`),
		"private keys made by Terraform":     regexp.MustCompile(`tls_private_key|private_key_pem`),
	} {
		t.Run(name, func(t *testing.T) {
			for path, text := range moduleFiles(t) {
				if m := bad.FindString(text); m != "" {
					t.Errorf("%s: %s", path, m)
				}
			}
		})
	}
}

// What is secret is in no output.
func TestOutputsHoldNoSecret(t *testing.T) {
	secret := regexp.MustCompile(`kube_config|client_key|join_token|password|private_key`)
	for path, text := range moduleFiles(t) {
		if filepath.Base(path) == "outputs.tf" {
			if m := secret.FindString(text); m != "" {
				t.Errorf("%s: %s", path, m)
			}
		}
	}
}

// Each variable and output says what it is.
func TestVariablesAndOutputsAreDescribed(t *testing.T) {
	head := regexp.MustCompile(`(?m)^(variable|output) "(\w+)" \{\n(.*)\n`)
	n := 0
	for path, text := range moduleFiles(t) {
		for _, m := range head.FindAllStringSubmatch(text, -1) {
			n++
			if !strings.Contains(m[3], "description =") {
				t.Errorf("%s: %s %s has no description", path, m[1], m[2])
			}
		}
	}
	if n < 30 {
		t.Errorf("the test found %d variables and outputs only", n)
	}
}

// The lock file has the version that the configuration wants of each provider.
func TestLockFile(t *testing.T) {
	lock, err := modules.ReadFile(rootFolder + "/" + lockFile)
	if err != nil {
		t.Fatal(err)
	}
	wanted, err := modules.ReadFile(rootFolder + "/versions.tf")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`source  = "hashicorp/(\w+)"\n\s+version = "([\d.]+)"`).FindAllStringSubmatch(string(wanted), -1) {
		want := fmt.Sprintf("provider \"registry.terraform.io/hashicorp/%s\" {\n  version     = %q\n", m[1], m[2])
		if !strings.Contains(string(lock), want) {
			t.Errorf("the lock file lacks\n%s", want)
		}
	}
}

func moduleFiles(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := fs.WalkDir(modules, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := modules.ReadFile(path)
		all[path] = string(text)
		return err
	})
	if err != nil || len(all) < 20 {
		t.Fatalf("found %d files: %v", len(all), err)
	}
	return all
}
