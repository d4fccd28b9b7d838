//go:build integration

package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"

	"meshlab.dev/meshlab/orchestrate/consul"
)

var machinesAtOnce = flag.Int("machines", 4, "how many machines all tests are shared out to; 1: one after the other on one")

// longTests are begun first, so that none of them is what is waited for at the
// end. The order of all others is that of the source.
var longTests = []string{"TestCalibrateAndReproduce", "TestPages", "TestConformance", "TestFaultVerb", "TestInterruptAnywhere", "TestCrash"}

// aloneTests hold times of milliseconds to their limits, stop parts of a lab for
// a while, or want a verdict: no other test runs beside them.
var aloneTests = []string{"TestCompareFindsARegression", "TestSurvival", "TestRestartedSwitchWaits", "TestSwitchesOnMachines", "TestRollout", "TestLinks"}

// sharedOut tells whether this run is one of all tests. These wait for most of
// their time, for Consul and for each other's daemons, so several machines do
// them in less time, each test on one that is new. Who names tests with -run
// gets them one after the other, on one machine.
func sharedOut() (skip *regexp.Regexp, all bool) {
	all = *machinesAtOnce > 1
	flag.Visit(func(f *flag.Flag) {
		name, ofTesting := strings.CutPrefix(f.Name, "test.")
		switch {
		case name == "skip":
			var err error
			skip, err = regexp.Compile(f.Value.String())
			all = all && err == nil && !strings.Contains(f.Value.String(), "/")
		case ofTesting && !slices.Contains([]string{"count", "failfast", "paniconexit0", "short", "testlogfile", "timeout", "v"}, name):
			all = false // one of another kind, or for one program
		}
	})
	return skip, all
}

// testNames lists the tests of this program.
func testNames(skip *regexp.Regexp) ([]string, error) {
	cmd := exec.Command("/proc/self/exe", "-test.list=^(Test|Fuzz|Example)")
	cmd.Env = append(os.Environ(), stageVar+"=list")
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list tests: %w", err)
	}
	names := strings.Fields(string(out))
	for _, name := range slices.Concat(longTests, aloneTests) {
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("there is no test %s: mend longTests or aloneTests", name)
		}
	}
	names = slices.DeleteFunc(names, func(name string) bool { return skip != nil && skip.MatchString(name) })
	slices.SortStableFunc(names, func(a, b string) int { return turn(a) - turn(b) })
	return names, nil
}

func turn(name string) int {
	if i := slices.Index(longTests, name); i >= 0 {
		return i
	}
	return len(longTests)
}

// shareOut runs the tests, each on a machine of its own.
func shareOut(dir string, skip *regexp.Regexp) (code int, err error) {
	names, err := testNames(skip)
	if err != nil {
		return 0, err
	}
	if err := addConsul(filepath.Join(dir, "bin")); err != nil {
		return 0, err
	}
	isAlone := func(name string) bool { return slices.Contains(aloneTests, name) }
	beside := slices.DeleteFunc(slices.Clone(names), isAlone)
	alone := slices.DeleteFunc(names, func(name string) bool { return !isAlone(name) })
	code, err = atOnce(*machinesAtOnce, dir, beside)
	if err == nil {
		var last int
		last, err = atOnce(1, dir, alone)
		code = max(code, last)
	}
	verdict := map[bool]string{true: "PASS", false: "FAIL"}[code == 0 && err == nil]
	if flag.Lookup("test.v").Value.String() == "test2json" {
		verdict = "\x16" + verdict // as package testing marks it
	}
	fmt.Println(verdict)
	return code, err
}

// atOnce runs tests on so many machines at once, with the programs in dir. It
// prints what each test has printed when that has ended.
func atOnce(count int, dir string, names []string) (code int, err error) {
	var mu sync.Mutex // for names, code, err and the output
	take := func() (name string) {
		mu.Lock()
		defer mu.Unlock()
		if len(names) > 0 && err == nil {
			name, names = names[0], names[1:]
		}
		return name
	}
	ended := func(printed []byte, exit int, failure error) {
		mu.Lock()
		defer mu.Unlock()
		code = max(code, exit)
		_, write := os.Stdout.Write(printed)
		err = errors.Join(err, failure, write)
	}
	var all sync.WaitGroup
	for i := range count {
		all.Go(func() {
			runtime.LockOSThread() // the death signal of a machine is tied to the thread
			for name := take(); name != ""; name = take() {
				ended(onNewMachine(dir, filepath.Join(dir, fmt.Sprint(i)), name))
			}
		})
	}
	all.Wait()
	return code, err
}

// lastLine is what a test program ends with, also behind a line without an end
// that a test has printed.
var lastLine = regexp.MustCompile("\x16?(PASS|FAIL)\n$")

// onNewMachine runs one test on a machine that is made for it, with copies of
// the programs in a folder that is made for it too.
func onNewMachine(programs, folder, name string) (printed []byte, code int, err error) {
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	if err := makeFolders(folder); err != nil {
		return nil, 0, err
	}
	files, err := os.ReadDir(filepath.Join(programs, "bin"))
	for _, f := range files {
		err = errors.Join(err, os.Link(filepath.Join(programs, "bin", f.Name()), filepath.Join(folder, "bin", f.Name())))
	}
	if err != nil {
		return nil, 0, err
	}
	args := slices.DeleteFunc(slices.Clone(os.Args[1:]), func(arg string) bool {
		return strings.HasPrefix(arg, "-test.testlogfile=") // one file for one program
	})
	cmd, err := machine(folder, append(args, "-test.run=^"+name+"$"))
	if err != nil {
		return nil, 0, err
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	code, err = exitOf(cmd.Run())
	return lastLine.ReplaceAll(out.Bytes(), nil), code, err
}

// machine is this program with args, on a machine of its own. The caller has
// locked its thread for as long as that is to live.
func machine(dir string, args []string) (*exec.Cmd, error) {
	wd, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), stageVar+"=machine", binVar+"="+dir, dirVar+"="+wd, "TMPDIR="+filepath.Join(dir, "tmp"), "XDG_RUNTIME_DIR=")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig:  syscall.SIGKILL,
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC,
	}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	}
	return cmd, nil
}

// exitOf tells an exit code from a failure to run something.
func exitOf(err error) (code int, failure error) {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// addConsul puts consul into the folder, where every user may run it.
func addConsul(bin string) error {
	found, err := consul.Find(context.Background(), consul.Options{})
	if err != nil {
		return err
	}
	text, err := os.ReadFile(found.Path)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(bin, "consul"), text, 0o755)
}
