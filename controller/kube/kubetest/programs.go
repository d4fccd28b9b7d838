package kubetest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Variables by which the program outside tells the one inside where things are.
const (
	apiserverVariable = "KUBETEST_APISERVER"
	etcdVariable      = "KUBETEST_ETCD"
)

// ensurePrograms finds etcd, and finds or builds kube-apiserver.
func ensurePrograms() error {
	etcd, err := findEtcd()
	if err != nil {
		return err
	}
	module, err := moduleDir()
	if err != nil {
		return err
	}
	build := exec.Command(filepath.Join(module, ".ci", "kube-apiserver"))
	build.Stderr = os.Stderr // progress
	out, err := build.Output()
	if err != nil {
		return fmt.Errorf("build kube-apiserver: %w; see what .ci/kube-apiserver says", err)
	}
	return errors.Join(os.Setenv(apiserverVariable, strings.TrimSpace(string(out))), os.Setenv(etcdVariable, etcd))
}

// findEtcd finds the etcd of the PATH, else the one that .ci/testdeps unpacked.
func findEtcd() (string, error) {
	if path, err := exec.LookPath("etcd"); err == nil {
		return path, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find etcd: %w", err)
	}
	path := filepath.Join(cache, "meshlab", "etcd", "usr", "bin", "etcd")
	if _, err := os.Stat(path); err != nil {
		return "", errors.New("no etcd, neither on the PATH nor in the cache: .ci/testdeps gets it")
	}
	return path, nil
}

// programPath returns the path that the program outside has found.
func programPath(variable string) (string, error) {
	if path := os.Getenv(variable); path != "" {
		return path, nil
	}
	return "", fmt.Errorf("%s is not set: kubetest said at its start what it lacks; .ci/testdeps gets it", variable)
}
