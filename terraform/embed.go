package terraform

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// modules holds the configuration of a lab in the cloud and the modules that it
// is made of.
//
//go:embed lab lab/.terraform.lock.hcl modules
var modules embed.FS

const (
	rootFolder = "lab"
	lockFile   = ".terraform.lock.hcl"
)

// write puts the configuration into dir, over what an earlier run has put there.
// With stand-ins for providers the lock file stays out: it has the checksums of
// the real ones.
func write(dir string, standIns bool) error {
	return fs.WalkDir(modules, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == "." {
			return err
		}
		to := filepath.Join(dir, path)
		if d.IsDir() {
			return os.MkdirAll(to, 0o700)
		}
		if standIns && d.Name() == lockFile {
			return nil
		}
		text, err := modules.ReadFile(path)
		if err != nil {
			return err
		}
		if err := os.WriteFile(to, text, 0o600); err != nil {
			return fmt.Errorf("write the configuration: %w", err)
		}
		return nil
	})
}
