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

// fakeAz puts a program az on the PATH, and nothing else, that answers as the
// Azure CLI does: login and usage are what it prints; an empty login fails.
func fakeAz(t *testing.T, login, usage string) {
	t.Helper()
	dir := t.TempDir()
	script := "#!/bin/sh\ncase \"$1 $2\" in\n'account show') [ -n '" + login + "' ] || { echo 'ERROR: Please run az login to setup account.' >&2; exit 1; }; echo '" + login + "' ;;\n'vm list-usage') echo '" + usage + "' ;;\n'group exists') echo '" + login + "' ;;\n*) exit 2 ;;\nesac\n"
	if err := os.WriteFile(filepath.Join(dir, "az"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	noLogin(t)
	t.Setenv("PATH", dir)
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
	prices, err := terraform.LoadPrices()
	if err != nil {
		t.Fatal(err)
	}
	both := terraform.Settings{Name: "lab", Location: "eastus", Clusters: []string{"aks", "ovs"}, Size: "Standard_B2ms", Nodes: 2}
	other := both
	other.Size = "Standard_X1"
	rehearsal := both
	rehearsal.StandIns = "/tmp/cloud.json"
	principal := map[string]string{"ARM_CLIENT_ID": "app", "ARM_TENANT_ID": "t", "ARM_SUBSCRIPTION_ID": "s", "ARM_CLIENT_SECRET": "x"}
	for name, tc := range map[string]struct {
		az          bool
		login       string
		usage       string
		environment map[string]string
		settings    terraform.Settings
		want, fails string
		sets        string // the environment that it finds
	}{
		"az and room":               {az: true, login: someLogin, usage: freeUsage, settings: both, want: "quota: 10 processors are needed in eastus and can be had", sets: "ARM_SUBSCRIPTION_ID=11111111-2222-3333-4444-555555555555"},
		"az and no room":            {az: true, login: someLogin, usage: fullUsage, settings: both, fails: "Standard BS Family vCPUs in eastus: 4 of 10 are used, the lab needs 10"},
		"az, an unknown size":       {az: true, login: someLogin, usage: fullUsage, settings: other, want: "processors of Standard_X1 are not known", sets: "ARM_SUBSCRIPTION_ID=11111111-2222-3333-4444-555555555555"},
		"az without login":          {az: true, usage: freeUsage, settings: both, fails: "az login"},
		"neither":                   {settings: both, fails: "there is no login of Azure"},
		"service principal, no az":  {environment: principal, settings: both, want: "quota: not looked at"},
		"service principal, half":   {environment: map[string]string{"ARM_CLIENT_ID": "app", "ARM_TENANT_ID": "t"}, settings: both, fails: "ARM_SUBSCRIPTION_ID, ARM_CLIENT_SECRET is not set"},
		"stand-ins need none of it": {settings: rehearsal, want: "STAND-INS take Azure's place"},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.az {
				fakeAz(t, tc.login, tc.usage)
			} else {
				noLogin(t)
			}
			for k, v := range tc.environment {
				t.Setenv(k, v)
			}
			environment, found, err := preflight(t.Context(), tc.settings, prices)
			switch {
			case tc.fails != "" && (err == nil || !strings.Contains(err.Error(), tc.fails)):
				t.Errorf("it fails with %v, want %s", err, tc.fails)
			case tc.fails == "" && (err != nil || !strings.Contains(strings.Join(found, "\n"), tc.want)):
				t.Errorf("it finds %q, %v; want %s", found, err, tc.want)
			}
			if got := strings.Join(environment, " "); tc.fails == "" && got != tc.sets {
				t.Errorf("it sets %q, want %q", got, tc.sets)
			}
		})
	}
}

// After down, Azure itself is asked.
func TestGone(t *testing.T) {
	s := terraform.Settings{Name: "lab"}
	fakeAz(t, "true", "")
	if _, err := gone(t.Context(), s); err == nil || !strings.Contains(err.Error(), "az group delete --name meshlab-lab") {
		t.Errorf("a group that remains: %v", err)
	}
	fakeAz(t, "false", "")
	if text, err := gone(t.Context(), s); err != nil || text != "Azure has no group of it any more" {
		t.Errorf("no group: %q, %v", text, err)
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
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := ask(tc.args...); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
	s, err := ask("--from", "198.51.100.7", "--ttl", "3h", "--nodes", "3")
	if err != nil || s.Nodes != 3 || s.Size != "Standard_B2ms" || s.Expires == nil || !s.Expires.Equal(now.Add(3*time.Hour)) {
		t.Fatalf("got %+v, %v", s, err)
	}
	if err := os.MkdirAll(cloudDir("lab"), 0o700); err != nil {
		t.Fatal(err)
	}
	text := `{"name":"lab","location":"westeurope","clusters":["ovs"],"from":"198.51.100.9/32","size":"Standard_B4ms","nodes":4,"expires":"2026-11-22T07:00:00Z"}`
	if err := os.WriteFile(filepath.Join(cloudDir("lab"), "lab.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(); err == nil || !strings.Contains(err.Error(), "has expired") {
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
