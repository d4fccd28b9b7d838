package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"meshlab.dev/meshlab/orchestrate/image"
)

// registryLogins are docker's logins (config.json and its credential helpers),
// then for Azure's registries the login of Azure.
func registryLogins() authn.Keychain {
	return authn.NewMultiKeychain(authn.DefaultKeychain, azureLogin{})
}

// tokenUser is the user name that Azure's registries take with a token.
// https://learn.microsoft.com/azure/container-registry/container-registry-authentication
const tokenUser = "00000000-0000-0000-0000-000000000000"

// tokenTimeout bounds how long az may take for a token.
const tokenTimeout = time.Minute

// azureLogin logs in to Azure's registries as the service principal that
// Terraform uses, or with a token of az. Nothing of it is written to a file.
type azureLogin struct{}

func (a azureLogin) Resolve(to authn.Resource) (authn.Authenticator, error) {
	return a.ResolveContext(context.Background(), to)
}

func (azureLogin) ResolveContext(ctx context.Context, to authn.Resource) (authn.Authenticator, error) {
	registry, ok := strings.CutSuffix(to.RegistryStr(), image.AzureSuffix)
	if !ok {
		return authn.Anonymous, nil
	}
	if id, secret := os.Getenv("ARM_CLIENT_ID"), os.Getenv("ARM_CLIENT_SECRET"); id != "" && secret != "" {
		return &authn.Basic{Username: id, Password: secret}, nil
	}
	az, err := exec.LookPath("az")
	if err != nil {
		return authn.Anonymous, nil // the registry says what it wants
	}
	ctx, cancel := context.WithTimeout(ctx, tokenTimeout)
	defer cancel()
	var token struct {
		AccessToken string `json:"accessToken"`
	}
	if err := askAz(ctx, az, &token, "acr", "login", "--name", registry, "--expose-token"); err != nil {
		return nil, fmt.Errorf("log in to %s: %w", to.RegistryStr(), err)
	}
	return &authn.Basic{Username: tokenUser, Password: token.AccessToken}, nil
}
