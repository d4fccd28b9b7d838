package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// Errors that Install returns, wrapped.
var (
	// ErrNeedRoot says that packages are missing and this user may not install
	// them; the message holds the command.
	ErrNeedRoot = errors.New("only root may install packages")
	// ErrNoApt says that packages are missing on a distribution without
	// apt-get; the message holds their names in Debian.
	ErrNoApt = errors.New("this distribution has no apt-get")
)

// Packages returns the Debian packages that the findings ask for, sorted.
func Packages(findings []Finding) []string {
	var names []string
	for _, f := range findings {
		if f.Status == Missing && f.Package != "" {
			names = append(names, f.Package)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Install installs the packages that the findings ask for with apt-get, and
// tells out what it does. It changes nothing when none is missing. The
// daemons that come with the packages are not started: labs run their own.
// Errors wrap ErrNeedRoot, ErrNoApt or apt-get's own.
func Install(ctx context.Context, findings []Finding, out io.Writer) error {
	names := Packages(findings)
	if len(names) == 0 {
		_, err := fmt.Fprintln(out, "no package is missing")
		return err
	}
	apt, lookErr := exec.LookPath("apt-get")
	if err := mayInstall(names, lookErr == nil, os.Geteuid()); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(out, "installing from the distribution: %s\n", strings.Join(names, " ")); err != nil {
		return err
	}
	restore, err := holdServices(policyFile)
	if err != nil {
		return err
	}
	updateErr := run(ctx, out, apt, "update", "-qq")
	// Old package lists often suffice, so a failed update alone is no failure.
	installErr := run(ctx, out, apt, append([]string{"install", "-qq", "-y", "--no-install-recommends"}, names...)...)
	restoreErr := restore()
	if installErr != nil {
		return errors.Join(installErr, updateErr, restoreErr)
	}
	if restoreErr != nil {
		return restoreErr
	}
	_, err = fmt.Fprintf(out, "installed %[1]s; labs run daemons of their own, so to keep those of the packages off at the next boot too: sudo systemctl disable %[1]s\n",
		strings.Join(names, " "))
	return err
}

// mayInstall returns why nothing can be installed, with the command to type.
func mayInstall(names []string, haveApt bool, uid int) error {
	if !haveApt {
		return fmt.Errorf("install packages: %w: install what Debian calls %s", ErrNoApt, strings.Join(names, ", "))
	}
	if uid != 0 {
		return fmt.Errorf("install packages: %w: run `sudo apt-get update && %s`", ErrNeedRoot, aptInstall(names...))
	}
	return nil
}

func aptInstall(names ...string) string {
	return "sudo apt-get install -y --no-install-recommends " + strings.Join(names, " ")
}

// policyFile is what maintainer scripts ask before they start a service,
// whatever the init system (invoke-rc.d(8), deb-systemd-invoke(1p)).
const policyFile = "/usr/sbin/policy-rc.d"

// holdServices forbids starting services until restore is called. Where the
// administrator has a policy already, that one rules.
func holdServices(path string) (restore func() error, err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return func() error { return nil }, nil
	}
	if err != nil {
		return nil, fmt.Errorf("keep services from starting: %w", err)
	}
	// 101: action forbidden by policy.
	_, writeErr := io.WriteString(file, "#!/bin/sh\nexit 101\n")
	if err := errors.Join(writeErr, file.Close()); err != nil {
		return nil, errors.Join(fmt.Errorf("keep services from starting: write %s: %w", path, err), os.Remove(path))
	}
	return func() error {
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("let services start again: %w", err)
		}
		return nil
	}, nil
}

// run runs a command of apt-get. When ctx ends it gets an interrupt, at which
// it leaves its database in order, and a minute for that.
func run(ctx context.Context, out io.Writer, apt string, args ...string) error {
	cmd := exec.CommandContext(ctx, apt, append([]string{"-o", "DPkg::Lock::Timeout=120", "-o", "Dpkg::Use-Pty=0"}, args...)...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8")
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = time.Minute
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("run apt-get %s: %w", args[0], err)
	}
	return nil
}
