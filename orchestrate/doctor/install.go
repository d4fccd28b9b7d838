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
	// ErrNeedRoot says that something is missing and this user may not mend
	// it; the message holds the command.
	ErrNeedRoot = errors.New("only root may do that")
	// ErrNoInstaller says that packages are missing on a distribution whose
	// package manager is not known here; the message holds their names in Debian.
	ErrNoInstaller = errors.New("meshlab does not know how this distribution installs packages")
)

// Packages returns the packages that the findings ask for, sorted, as this
// distribution calls them.
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

// mendable tells whether Install mends what is missing.
func (f Finding) mendable() bool {
	return f.Status == Missing && f.Remedy != "" && (f.Package != "" || f.fixes != nil)
}

// OneCommand returns the one shell command that brings all that is missing,
// and the findings that it does not mend. self is the path of this program,
// as sudo's PATH may lack it. When nothing can be mended, command is empty.
func OneCommand(findings []Finding, self string) (command string, rest []Finding) {
	var mends []Finding
	for _, f := range findings {
		switch {
		case f.Name == wslName && f.Status == Missing: // nothing else would help
			return f.Remedy, nil
		case f.mendable():
			mends = append(mends, f)
		case f.Status == Missing:
			rest = append(rest, f)
		}
	}
	switch {
	case len(mends) == 0:
		return "", rest
	case len(mends) == 1 && (mends[0].Package == "" || mends[0].fixes == nil):
		return mends[0].Remedy, rest
	}
	return "sudo " + self + " doctor --install", rest
}

// Install brings what the findings lack: packages, by the distribution's own
// package manager, settings of the kernel until the next boot, and Go where
// Consul has to be built. It tells out what it does, and changes nothing when
// nothing is missing. The daemons that come with the packages are not
// started: labs run their own. Errors wrap ErrNeedRoot, ErrNoInstaller or
// those of the commands.
func Install(ctx context.Context, findings []Finding, out io.Writer) error {
	m := here(ctx)
	names := Packages(findings)
	var fixes []string
	for _, f := range findings {
		if f.mendable() {
			fixes = append(fixes, f.fixes...)
		}
	}
	if len(names)+len(fixes) == 0 {
		_, err := fmt.Fprintln(out, "nothing is missing that could be installed")
		return err
	}
	d := m.distribution()
	if err := mayInstall(d, names, m.uid); err != nil {
		return err
	}
	if len(names) > 0 {
		if err := installPackages(ctx, d, names, out); err != nil {
			return err
		}
	}
	for _, command := range fixes {
		if _, err := fmt.Fprintln(out, "running: "+command); err != nil {
			return err
		}
		if err := run(ctx, out, "/bin/sh", "-c", command); err != nil {
			return err
		}
	}
	if len(fixes) == 0 {
		return nil
	}
	_, err := fmt.Fprintln(out, "settings of the kernel and modes of devices hold until the next boot")
	return err
}

func installPackages(ctx context.Context, d distribution, names []string, out io.Writer) error {
	if _, err := fmt.Fprintf(out, "installing from %s: %s\n", d.name, strings.Join(names, " ")); err != nil {
		return err
	}
	restore := func() error { return nil }
	apt := d.install[0] == "apt-get"
	if apt {
		var err error
		if restore, err = holdServices(policyFile); err != nil {
			return err
		}
	}
	var updateErr error
	if d.update != nil {
		// Old package lists often suffice, so a failed update alone is no failure.
		updateErr = run(ctx, out, d.update...)
	}
	installErr := run(ctx, out, slices.Concat(d.install, names)...)
	restoreErr := restore()
	if installErr != nil {
		return errors.Join(installErr, updateErr, restoreErr)
	}
	if restoreErr != nil || !apt {
		return restoreErr
	}
	_, err := fmt.Fprintf(out, "installed %[1]s; labs run daemons of their own, so to keep those of the packages off at the next boot too: sudo systemctl disable %[1]s\n",
		strings.Join(names, " "))
	return err
}

// mayInstall returns why nothing can be installed, with the command to type.
func mayInstall(d distribution, names []string, uid int) error {
	if d.install == nil && len(names) > 0 {
		return fmt.Errorf("install packages on %s: %w: install what Debian calls %s", d.name, ErrNoInstaller, strings.Join(names, ", "))
	}
	if uid != 0 {
		return fmt.Errorf("install what is missing: %w: run `sudo %s doctor --install`", ErrNeedRoot, Self())
	}
	return nil
}

// Self is this program in a command for sudo, whose PATH may lack it.
func Self() string {
	path, err := os.Executable()
	if err != nil {
		return "meshlab"
	}
	if strings.ContainsFunc(path, func(r rune) bool {
		return !strings.ContainsRune("/._-+", r) && (r < '0' || r > 'z' || r > '9' && r < 'A' || r > 'Z' && r < 'a')
	}) {
		return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
	}
	return path
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

// run runs a command that changes the machine. When ctx ends it gets an
// interrupt, at which package managers leave their databases in order, and a
// minute for that.
func run(ctx context.Context, out io.Writer, words ...string) error {
	if words[0] == "apt-get" {
		words = slices.Concat(words[:1], []string{"-qq", "-o", "DPkg::Lock::Timeout=120", "-o", "Dpkg::Use-Pty=0"}, words[1:])
	}
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8")
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = time.Minute
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("run %s: %w", strings.Join(words, " "), err)
	}
	return nil
}
