package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"meshlab.dev/meshlab/terraform"
)

// preflight looks at the login before anything is done. It returns the subscription
// that the lab is in, or will be, and what it has found, a line each. With stand-ins
// there is nothing to look at.
func preflight(ctx context.Context, s terraform.Settings) (subscription string, found []string, err error) {
	if s.StandIns != "" {
		return "", []string{"STAND-INS take Azure's place: nothing real is made, nothing is paid. What would exist is in " + s.StandIns}, nil
	}
	if subscription = s.Subscription; subscription == "" {
		subscription = os.Getenv("ARM_SUBSCRIPTION_ID")
	}
	az, azErr := exec.LookPath("az")
	switch {
	case os.Getenv("ARM_CLIENT_ID") != "":
		if err := servicePrincipal(subscription); err != nil {
			return "", nil, err
		}
		return subscription, []string{"login: service principal " + os.Getenv("ARM_CLIENT_ID") + ", subscription " + subscription}, nil
	case azErr != nil:
		return "", nil, errors.New("there is no login of Azure: neither a service principal (ARM_CLIENT_ID, ARM_TENANT_ID, ARM_CLIENT_SECRET, ARM_SUBSCRIPTION_ID) nor az, the Azure CLI; install it (https://learn.microsoft.com/cli/azure/install-azure-cli), then: az login")
	}
	account, err := azAccount(ctx, az)
	if err != nil {
		return "", nil, err
	}
	if subscription == "" || strings.EqualFold(subscription, account.ID) {
		return account.ID, []string{fmt.Sprintf("login: %s, subscription %s (%s)", account.User.Name, account.Name, account.ID)}, nil
	}
	return subscription, []string{fmt.Sprintf("login: %s, subscription %s, which is not the one that az has set", account.User.Name, subscription)}, nil
}

func servicePrincipal(subscription string) error {
	var missing []string
	if os.Getenv("ARM_TENANT_ID") == "" {
		missing = append(missing, "ARM_TENANT_ID")
	}
	if subscription == "" {
		missing = append(missing, "ARM_SUBSCRIPTION_ID")
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

// askAz asks the Azure CLI something.
func askAz(ctx context.Context, az string, to any, args ...string) error {
	cmd := exec.CommandContext(ctx, az, append(args, "--output", "json")...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		said := strings.TrimSpace(stderr.String())
		if at := strings.Index(said, "ERROR: "); at > 0 { // warnings come first
			said = said[at:]
		}
		first, _, _ := strings.Cut(said, "\n")
		return fmt.Errorf("az %s: %w: %s", strings.Join(args, " "), err, first)
	}
	if err := json.Unmarshal(out, to); err != nil {
		return fmt.Errorf("az %s: %w", strings.Join(args, " "), err)
	}
	return nil
}
