package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"meshlab.dev/meshlab/terraform"
)

// preflight looks before anything is made: at the login and at the quota. It
// returns what Terraform's environment needs beyond this one's, and what it has
// found, a line each. With stand-ins there is nothing to look at.
func preflight(ctx context.Context, s terraform.Settings, prices terraform.Prices) (environment, found []string, err error) {
	if s.StandIns != "" {
		return nil, []string{"STAND-INS take Azure's place: nothing real is made, nothing is paid. What would exist is in " + s.StandIns}, nil
	}
	az, azErr := exec.LookPath("az")
	switch {
	case os.Getenv("ARM_CLIENT_ID") != "":
		if err := servicePrincipal(); err != nil {
			return nil, nil, err
		}
		found = append(found, "login: service principal "+os.Getenv("ARM_CLIENT_ID")+", subscription "+os.Getenv("ARM_SUBSCRIPTION_ID"))
	case azErr != nil:
		return nil, nil, errors.New("there is no login of Azure: neither a service principal (ARM_CLIENT_ID, ARM_TENANT_ID, ARM_CLIENT_SECRET, ARM_SUBSCRIPTION_ID) nor az, the Azure CLI; install it (https://learn.microsoft.com/cli/azure/install-azure-cli), then: az login")
	default:
		account, err := azAccount(ctx, az)
		if err != nil {
			return nil, nil, err
		}
		if os.Getenv("ARM_SUBSCRIPTION_ID") == "" {
			environment = append(environment, "ARM_SUBSCRIPTION_ID="+account.ID)
		}
		found = append(found, fmt.Sprintf("login: %s, subscription %s (%s)", account.User.Name, account.Name, account.ID))
	}
	if azErr != nil {
		return environment, append(found, "quota: not looked at, az is not on the PATH"), nil
	}
	quota, err := checkQuota(ctx, az, s, prices)
	return environment, append(found, quota), err
}

func servicePrincipal() error {
	var missing []string
	for _, name := range []string{"ARM_TENANT_ID", "ARM_SUBSCRIPTION_ID"} {
		if os.Getenv(name) == "" {
			missing = append(missing, name)
		}
	}
	secret := false
	for _, name := range []string{"ARM_CLIENT_SECRET", "ARM_CLIENT_CERTIFICATE_PATH", "ARM_USE_OIDC", "ARM_OIDC_TOKEN", "ARM_CLIENT_SECRET_FILE_PATH"} {
		secret = secret || os.Getenv(name) != ""
	}
	if !secret {
		missing = append(missing, "ARM_CLIENT_SECRET")
	}
	if len(missing) > 0 {
		return fmt.Errorf("ARM_CLIENT_ID names a service principal, but %s is not set", strings.Join(missing, ", "))
	}
	return nil
}

type azureAccount struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	User struct {
		Name string `json:"name"`
	} `json:"user"`
}

func azAccount(ctx context.Context, az string) (azureAccount, error) {
	var a azureAccount
	if err := askAz(ctx, az, &a, "account", "show"); err != nil {
		return a, fmt.Errorf("there is no login of Azure: %w; log in: az login", err)
	}
	return a, nil
}

// checkQuota fails when the region's quota of processors is too small for the
// lab's nodes. Quotas that cannot be read are no failure: Azure has the last
// word.
func checkQuota(ctx context.Context, az string, s terraform.Settings, prices terraform.Prices) (string, error) {
	each, known := prices.Processors[s.Size]
	if !known {
		return "quota: not looked at, the processors of " + s.Size + " are not known here", nil
	}
	need := each * s.Nodes * len(s.Clusters)
	for _, c := range s.Clusters {
		if c == "ovs" {
			need += controlPlaneProcessors
		}
	}
	var usage []struct {
		Name struct {
			Value     string `json:"value"`
			Localized string `json:"localizedValue"`
		} `json:"name"`
		Current any `json:"currentValue"` // az prints numbers as text
		Limit   any `json:"limit"`
	}
	if err := askAz(ctx, az, &usage, "vm", "list-usage", "--location", s.Location); err != nil {
		return fmt.Sprintf("quota: could not be read: %v", err), nil
	}
	seen := false
	for _, u := range usage {
		if u.Name.Value != "cores" && (u.Name.Value != "standardBSFamily" || !strings.HasPrefix(s.Size, "Standard_B")) {
			continue
		}
		current, err1 := strconv.Atoi(fmt.Sprint(u.Current))
		limit, err2 := strconv.Atoi(fmt.Sprint(u.Limit))
		if err1 != nil || err2 != nil {
			continue
		}
		seen = true
		if limit-current < need {
			return "", fmt.Errorf("the quota is too small: %s in %s: %d of %d are used, the lab needs %d; take fewer nodes (--nodes) or another --location, or ask for more: https://aka.ms/ProdportalCRP", u.Name.Localized, s.Location, current, limit, need)
		}
	}
	if !seen {
		return "quota: az does not tell one for " + s.Location, nil
	}
	return fmt.Sprintf("quota: %d processors are needed in %s and can be had", need, s.Location), nil
}

// askAz asks the Azure CLI something.
func askAz(ctx context.Context, az string, to any, args ...string) error {
	cmd := exec.CommandContext(ctx, az, append(args, "--output", "json")...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		first, _, _ := strings.Cut(strings.TrimSpace(stderr.String()), "\n")
		return fmt.Errorf("az %s: %w: %s", strings.Join(args, " "), err, first)
	}
	if err := json.Unmarshal(out, to); err != nil {
		return fmt.Errorf("az %s: %w", strings.Join(args, " "), err)
	}
	return nil
}
