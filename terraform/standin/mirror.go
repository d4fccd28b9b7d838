package standin

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// Mirror writes into dir a mirror of providers that has the stand-ins alone,
// and a configuration of Terraform that takes providers from there and from
// nowhere else; it returns the configuration's path, for TF_CLI_CONFIG_FILE.
// A provider in the mirror starts the command, with its name and the cloud's
// path behind it; the command calls Serve.
//
// The layout is Terraform's for unpacked packages:
// https://developer.hashicorp.com/terraform/cli/config/config-file#filesystem_mirror
func Mirror(dir string, cloud Cloud, command ...string) (config string, err error) {
	mirror := filepath.Join(dir, "mirror")
	for name, version := range versions {
		folder := filepath.Join(mirror, filepath.FromSlash(address(name)), version, runtime.GOOS+"_"+runtime.GOARCH)
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return "", fmt.Errorf("make the mirror of stand-ins: %w", err)
		}
		var words []string
		for _, w := range append(slices.Clone(command), name, cloud.Path) {
			words = append(words, "'"+strings.ReplaceAll(w, "'", `'\''`)+"'")
		}
		script := "#!/bin/sh\n# A stand-in for provider " + name + ": nothing real is made.\nexec " + strings.Join(words, " ") + "\n"
		if err := os.WriteFile(filepath.Join(folder, "terraform-provider-"+name+"_v"+version), []byte(script), 0o700); err != nil {
			return "", fmt.Errorf("write the stand-in for provider %s: %w", name, err)
		}
	}
	config = filepath.Join(dir, "terraform.rc")
	text := fmt.Sprintf("# Providers are stand-ins: nothing real is made.\ndisable_checkpoint = true\n\nprovider_installation {\n  filesystem_mirror {\n    path = %q\n  }\n}\n", mirror)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return "", fmt.Errorf("write Terraform's configuration: %w", err)
	}
	return config, nil
}
