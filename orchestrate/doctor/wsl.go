package doctor

import "strings"

const wslName = "WSL"

// checkWSL tells what a Windows Subsystem for Linux is good for; ok is false
// on other machines. The kernels of WSL call themselves after Microsoft:
// 5.15.167.4-microsoft-standard-WSL2 is the one of WSL 2, and the first
// version, 4.4.0-19041-Microsoft, is no Linux kernel at all
// (learn.microsoft.com/windows/wsl/compare-versions).
func (m machine) checkWSL() (f Finding, ok bool) {
	release := m.release
	if text, err := m.read("/proc/sys/kernel/osrelease"); err == nil {
		release = strings.TrimSpace(text)
	}
	if !strings.Contains(strings.ToLower(release), "microsoft") {
		return f, false
	}
	if !strings.Contains(release, "microsoft-standard") && !strings.Contains(release, "WSL2") {
		f = Finding{Name: wslName, Status: Missing, Detail: "version 1 translates system calls, and has no network namespaces"}
		f.Remedy = "wsl.exe --set-version " + orElse(m.getenv("WSL_DISTRO_NAME"), "Ubuntu") + " 2"
		return f, true
	}
	return Finding{
		Name: wslName, Status: OK,
		Detail: "version 2: labs work as on any Linux, with bridges in user space; its kernels may lack Open vSwitch's datapath and netem; published ports are open to browsers on Windows too",
	}, true
}

func orElse(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}
