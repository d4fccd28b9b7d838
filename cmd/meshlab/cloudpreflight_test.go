package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"meshlab.dev/meshlab/terraform"
)

// fakeAz puts a program az on the PATH, and nothing else, that prints what it is
// given for the first two words of its arguments, and fails without. What it is
// asked goes into the file that it returns.
func fakeAz(t *testing.T, answers map[string]string) (asked string) {
	t.Helper()
	dir := t.TempDir()
	asked = filepath.Join(dir, "asked")
	script := "#!/bin/sh\necho \"$*\" >>" + asked + "\ncase \"$1 $2\" in\n"
	for words, answer := range answers {
		script += "'" + words + "') echo '" + answer + "' ;;\n"
	}
	script += "*) echo 'WARNING: an update is there' >&2; echo 'ERROR: Please run az login to setup account.' >&2; exit 1 ;;\nesac\n"
	if err := os.WriteFile(filepath.Join(dir, "az"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	noLogin(t)
	t.Setenv("PATH", dir)
	return asked
}

func noLogin(t *testing.T) {
	t.Helper()
	for _, name := range []string{"ARM_CLIENT_ID", "ARM_TENANT_ID", "ARM_SUBSCRIPTION_ID", "ARM_CLIENT_SECRET", "ARM_USE_OIDC", "ARM_OIDC_TOKEN", "ARM_CLIENT_CERTIFICATE_PATH", "ARM_CLIENT_SECRET_FILE_PATH"} {
		t.Setenv(name, "")
	}
	t.Setenv("PATH", t.TempDir())
}

const (
	someLogin = `{"id":"11111111-2222-3333-4444-555555555555","name":"Students","user":{"name":"ada@example.com"}}`
	freeUsage = `[{"name":{"value":"cores","localizedValue":"Total Regional vCPUs"},"currentValue":"2","limit":"20"},{"name":{"value":"standardBSFamily","localizedValue":"Standard BS Family vCPUs"},"currentValue":"0","limit":"10"}]`
	fullUsage = `[{"name":{"value":"standardBSFamily","localizedValue":"Standard BS Family vCPUs"},"currentValue":"4","limit":"10"}]`
)

func TestPreflight(t *testing.T) {
	const mine, other = "11111111-2222-3333-4444-555555555555", "66666666-2222-3333-4444-555555555555"
	login := map[string]string{"account show": someLogin}
	principal := map[string]string{"ARM_CLIENT_ID": "app", "ARM_TENANT_ID": "t", "ARM_SUBSCRIPTION_ID": mine, "ARM_CLIENT_SECRET": "x"}
	for name, tc := range map[string]struct {
		az           map[string]string // nil: there is none
		environment  map[string]string
		settings     terraform.Settings
		want, fails  string
		subscription string
	}{
		"az":                        {az: login, want: "login: ada@example.com, subscription Students", subscription: mine},
		"az, and the environment":   {az: login, environment: map[string]string{"ARM_SUBSCRIPTION_ID": other}, want: "subscription " + other, subscription: other},
		"az has turned to another":  {az: login, settings: terraform.Settings{Subscription: other}, want: "not the one that az has set", subscription: other},
		"the environment has":       {az: login, environment: principal, settings: terraform.Settings{Subscription: other}, want: "subscription " + other, subscription: other},
		"az without login":          {az: map[string]string{}, fails: "ERROR: Please run az login"},
		"neither":                   {fails: "there is no login of Azure"},
		"service principal, no az":  {environment: principal, want: "service principal app", subscription: mine},
		"service principal, half":   {environment: map[string]string{"ARM_CLIENT_ID": "app", "ARM_TENANT_ID": "t"}, fails: "ARM_SUBSCRIPTION_ID, ARM_CLIENT_SECRET is not set"},
		"stand-ins need none of it": {settings: terraform.Settings{StandIns: "/tmp/cloud.json"}, want: "STAND-INS take Azure's place"},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.az != nil {
				fakeAz(t, tc.az)
			} else {
				noLogin(t)
			}
			for k, v := range tc.environment {
				t.Setenv(k, v)
			}
			subscription, found, err := preflight(t.Context(), tc.settings)
			switch {
			case tc.fails != "" && (err == nil || !strings.Contains(err.Error(), tc.fails)):
				t.Errorf("it fails with %v, want %s", err, tc.fails)
			case tc.fails == "" && (err != nil || subscription != tc.subscription || !strings.Contains(strings.Join(found, "\n"), tc.want)):
				t.Errorf("it finds subscription %q, %q, %v; want %q, %s", subscription, found, err, tc.subscription, tc.want)
			}
		})
	}
}

// Before anything is made the region is asked for what is still to be made.
func TestCheckRegion(t *testing.T) {
	prices, err := terraform.LoadPrices()
	if err != nil {
		t.Fatal(err)
	}
	item := func(kind, what string, count int) terraform.Item {
		return terraform.Item{Type: kind, Costs: []terraform.Cost{{What: "vm " + what, Count: count, Known: true}}}
	}
	const vm, set, aks = "azurerm_linux_virtual_machine", "azurerm_linux_virtual_machine_scale_set", "azurerm_kubernetes_cluster"
	all := []terraform.Item{item(vm, "Standard_B2s", 1), item(set, "Standard_B2ms", 2), item(aks, "Standard_B2ms", 2)}
	const (
		skus     = `[{"name":"Standard_B2s","restrictions":[]},{"name":"Standard_B2ms","restrictions":[{"type":"Zone","reasonCode":"NotAvailableForSubscription"}]}]`
		no       = `[{"name":"Standard_B2s","restrictions":[]},{"name":"Standard_B2ms","restrictions":[{"type":"Location","reasonCode":"NotAvailableForSubscription"}]}]`
		versions = `{"values":[{"version":"1.35","isPreview":null,"capabilities":{"supportPlan":["KubernetesOfficial","AKSLongTermSupport"]}},{"version":"1.33","capabilities":{"supportPlan":["AKSLongTermSupport"]}},{"version":"1.37","isPreview":true,"capabilities":{"supportPlan":["KubernetesOfficial"]}}]}`
	)
	answers := func(usage, skus string) map[string]string {
		return map[string]string{"vm list-usage": usage, "vm list-skus": skus, "aks get-versions": versions}
	}
	for name, tc := range map[string]struct {
		az          map[string]string // nil: there is none
		items       []terraform.Item
		kubernetes  string
		want, fails string
	}{
		"room":                       {az: answers(freeUsage, skus), items: all, kubernetes: "1.35", want: "quota: 10 processors are needed in eastus and can be had"},
		"no room":                    {az: answers(fullUsage, skus), items: all, kubernetes: "1.35", fails: "Standard BS Family vCPUs in eastus: 4 of 10 are used, and 10 more are needed"},
		"half of it is there":        {az: answers(fullUsage, skus), items: all[2:], kubernetes: "1.35", want: "quota: 4 processors are needed"},
		"nothing is to be made":      {az: answers(fullUsage, no), kubernetes: "1.33"},
		"another quota":              {az: answers(fullUsage, `[{"name":"Standard_D4s_v5"}]`), items: []terraform.Item{item(set, "Standard_D4s_v5", 9)}, want: "az does not tell one"},
		"an unknown size":            {az: answers(fullUsage, `[{"name":"Standard_X1"}]`), items: []terraform.Item{item(set, "Standard_X1", 9)}, want: "processors of Standard_X1 are not known"},
		"a size that it may not use": {az: answers(freeUsage, no), items: all, kubernetes: "1.35", fails: "may not make machines of size Standard_B2ms in eastus"},
		"a size that is not listed":  {az: answers(freeUsage, "[]"), items: all, kubernetes: "1.35", fails: "may not make machines of size Standard_B2s in eastus"},
		"long-term support alone":    {az: answers(freeUsage, skus), items: all, kubernetes: "1.33", fails: "AKS in eastus does not offer Kubernetes 1.33: take one of 1.35"},
		"no AKS, any version":        {az: answers(freeUsage, skus), items: all[:2], kubernetes: "1.33", want: "quota: 6 processors"},
		"az has no login":            {az: map[string]string{}, items: all, want: "quota: could not be read"},
		"no az":                      {items: all, want: "az is not on the PATH"},
	} {
		t.Run(name, func(t *testing.T) {
			asked := ""
			if tc.az != nil {
				asked = fakeAz(t, tc.az)
			} else {
				noLogin(t)
			}
			s := terraform.Settings{Name: "lab", Location: "eastus", Kubernetes: tc.kubernetes, Subscription: "a-subscription"}
			found, err := checkRegion(t.Context(), s, tc.items, prices)
			said := strings.Join(found, "\n")
			switch {
			case tc.fails != "" && (err == nil || !strings.Contains(err.Error(), tc.fails)):
				t.Errorf("it fails with %v, want %s", err, tc.fails)
			case tc.fails == "" && (err != nil || !strings.Contains(said, tc.want) || tc.want == "" && said != ""):
				t.Errorf("it finds %q, %v; want %s", said, err, tc.want)
			}
			if text, err := os.ReadFile(asked); err == nil && strings.Count(string(text), "--subscription a-subscription") != strings.Count(string(text), "\n") {
				t.Errorf("az is asked about another subscription: %s", text)
			}
		})
	}
}

// After down, Azure itself is asked, and about the lab's own subscription.
func TestGone(t *testing.T) {
	s := terraform.Settings{Name: "lab", Subscription: "its-own"}
	asked := fakeAz(t, map[string]string{"group exists": "true"})
	if _, err := gone(t.Context(), s); err == nil || !strings.Contains(err.Error(), "az group delete --name meshlab-lab --subscription its-own") {
		t.Errorf("a group that remains: %v", err)
	}
	if text, err := os.ReadFile(asked); err != nil || !strings.Contains(string(text), "group exists --name meshlab-lab --subscription its-own") {
		t.Errorf("az was asked %q, %v", text, err)
	}
	fakeAz(t, map[string]string{"group exists": "false"})
	if text, err := gone(t.Context(), s); err != nil || text != "Azure has no group of it any more" {
		t.Errorf("no group: %q, %v", text, err)
	}
	fakeAz(t, map[string]string{})
	if text, err := gone(t.Context(), s); err == nil {
		t.Errorf("az cannot be asked: %q", text)
	}
	t.Setenv("ARM_CLIENT_ID", "app")
	if text, err := gone(t.Context(), s); err != nil || !strings.Contains(text, "was not asked, as az cannot") {
		t.Errorf("the login is not az': %q, %v", text, err)
	}
	noLogin(t)
	if text, err := gone(t.Context(), s); err != nil || !strings.Contains(text, "was not asked") {
		t.Errorf("without az: %q, %v", text, err)
	}
}

func TestCallerCIDR(t *testing.T) {
	for text, want := range map[string]string{
		"198.51.100.7": "198.51.100.7/32", "198.51.100.7/24": "198.51.100.0/24",
		"": "", "0.0.0.0/0": "", "10.0.0.0/8": "", "::1": "", "2001:db8::/64": "", "*": "", "here": "",
	} {
		got, err := callerCIDR(text)
		var usage usageError
		if got != want || (want == "") != errors.As(err, &usage) {
			t.Errorf("%q makes %q, %v; want %q", text, got, err, want)
		}
	}
}

// Terraform's backend azurerm refuses settings that do not say how to get at the
// storage account.
func TestBackendExample(t *testing.T) {
	for _, line := range strings.Split(newCloudUp().Example, "\n") {
		if strings.Contains(line, "--backend-config") && !strings.Contains(line, "use_azuread_auth=true") {
			t.Errorf("one of access_key, sas_token, use_azuread_auth and resource_group_name must be there: %s", line)
		}
	}
}

// What a user said once holds until it is said otherwise.
func TestCloudSettings(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	now := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	ask := func(args ...string) (terraform.Settings, error) {
		var f cloudFlags
		c := newCloudPlan()
		c.ResetFlags()
		f.add(c)
		if err := c.ParseFlags(args); err != nil {
			t.Fatal(err)
		}
		return f.settings(c, "lab", now)
	}
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"no address":    {nil, "--from is missing"},
		"too short":     {[]string{"--from", "198.51.100.7", "--ttl", "5m"}, "at least 30m"},
		"the whole net": {[]string{"--from", "0.0.0.0/0"}, "not open to the world"},
		"no version":    {[]string{"--from", "198.51.100.7", "--kubernetes", "1.35.2"}, "a minor version"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := ask(tc.args...); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
	s, err := ask("--from", "198.51.100.7", "--ttl", "3h", "--nodes", "3")
	if err != nil || s.Nodes != 3 || s.Size != "Standard_B2ms" || s.Kubernetes != defaultKubernetes || s.Expires == nil || !s.Expires.Equal(now.Add(3*time.Hour)) {
		t.Fatalf("got %+v, %v", s, err)
	}
	if err := os.MkdirAll(cloudDir("lab"), 0o700); err != nil {
		t.Fatal(err)
	}
	text := `{"name":"lab","location":"westeurope","clusters":["ovs"],"from":"198.51.100.9/32","size":"Standard_B4ms","nodes":4,"expires":"2026-11-22T07:00:00Z"}`
	if err := os.WriteFile(filepath.Join(cloudDir("lab"), "lab.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(); err == nil || !strings.Contains(err.Error(), "the time of its --ttl") {
		t.Errorf("an expired lab: %v", err)
	}
	s, err = ask("--ttl", "1h", "--size", "Standard_B2ms")
	if err != nil || s.Location != "westeurope" || s.From != "198.51.100.9/32" || s.Nodes != 4 || s.Size != "Standard_B2ms" || len(s.Clusters) != 1 {
		t.Errorf("kept: %+v, %v", s, err)
	}
	if _, err := ask("--ttl", "1h", "--stand-in", "x"); err == nil || !strings.Contains(err.Error(), "is in Azure already") {
		t.Errorf("a real lab turned into a rehearsal: %v", err)
	}
}

// What is deleted and made anew is not called a change.
func TestPrintedPlan(t *testing.T) {
	var said strings.Builder
	item := func(address string) []terraform.Item { return []terraform.Item{{Address: address}} }
	printPlan(&said, terraform.Plan{Replace: item("anew"), Change: item("changed")}, terraform.Prices{}, terraform.Settings{Name: "lab", Location: "eastus"})
	if want := "To delete and make anew in eastus (1):\n  anew\nTo change in eastus (1):\n  changed\n"; !strings.HasPrefix(strings.ReplaceAll(said.String(), "    ", ""), want) {
		t.Errorf("it says %q", said.String())
	}
}
