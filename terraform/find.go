package terraform

import (
	"context"
	"errors"
	"fmt"
	"os/exec"

	"github.com/hashicorp/go-version"
	"github.com/hashicorp/terraform-exec/tfexec"
)

// oldest is the oldest Terraform that the modules work with: their variables'
// conditions need 1.9.
var oldest = version.Must(version.NewVersion("1.9.0"))

// ErrNoTerraform says that there is no Terraform on the PATH.
var ErrNoTerraform = errors.New("terraform is not on the PATH; install it: https://developer.hashicorp.com/terraform/install")

// Find returns the path of Terraform.
func Find() (string, error) {
	path, err := exec.LookPath("terraform")
	if err != nil {
		return "", ErrNoTerraform
	}
	return path, nil
}

// checkVersion fails when Terraform is too old; it returns its version.
func checkVersion(ctx context.Context, tf *tfexec.Terraform) (string, error) {
	v, _, err := tf.Version(ctx, true)
	if err != nil {
		return "", fmt.Errorf("ask terraform for its version: %w", err)
	}
	if v.LessThan(oldest) {
		return "", fmt.Errorf("terraform %s is too old, the modules need %s; install a newer one: https://developer.hashicorp.com/terraform/install", v, oldest)
	}
	return v.String(), nil
}
