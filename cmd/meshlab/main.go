// Command meshlab brings service mesh labs to life on one machine and
// measures them. Each file of this package is one verb; the work is done in
// the packages that the verbs wire together.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"meshlab.dev/meshlab/orchestrate/kube"
	"meshlab.dev/meshlab/orchestrate/supervisor"
)

// Exit codes.
const (
	exitFailed      = 1   // the work could not be done
	exitUsage       = 2   // wrong use: unknown verb or flag, or a bad lab file
	exitInterrupted = 130 // ended early by SIGINT, SIGTERM or SIGHUP; what a shell says of Ctrl-C: 128 + SIGINT
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	os.Exit(run(ctx, os.Args[1:]))
}

func run(ctx context.Context, args []string) int {
	root := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var code exitCode
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	}
	fmt.Fprintln(os.Stderr, "meshlab: "+strings.TrimRight(err.Error(), "\n"))
	var usage usageError
	switch {
	case errors.Is(err, supervisor.ErrLeft), errors.Is(err, kube.ErrLeft):
		return exitFailed
	case ctx.Err() != nil:
		return exitInterrupted
	case errors.As(err, &usage):
		return exitUsage
	}
	return exitFailed
}

// outliveReader lets writes to a pipe that nobody reads any more fail. Without
// it they end the program (os/signal, SIGPIPE), with labs half up or unmeasured.
func outliveReader() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

// exitCode ends the program with that code and says nothing.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// usageError marks an error as the user's own: exit code 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "meshlab",
		Short: "Service mesh labs on one machine: switches against sidecars, measured",
		Long: `meshlab brings a lab to life (hosts, Open vSwitch switches, services, Consul),
makes the switches act as the service mesh, and measures that mesh against
Consul Connect and against plain switching.

A lab is a sandbox: nothing of it touches your own network, and nothing is
left when it is down. Where the kernel allows user namespaces, no root is
needed. 'meshlab doctor' says what this machine has and lacks.

Exit codes: 0 done, 1 failed, 2 wrong use (flags, names, lab files), 130 interrupted;
of 'compare' 3 FAIL and 4 INCONCLUSIVE; of 'exec' those of its command.`,
		Example: `  meshlab doctor                         what is missing here, and what mends it
  meshlab up hashicups                   the thesis' lab, with the mesh in the switches
  meshlab exec h1 -- curl localhost:20863/health
  meshlab bench hashicups hashicups-single-node --mesh direct,ovs,consul-connect
  meshlab report results/latest.json     the figures as a page
  meshlab down`,
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetVersionTemplate("meshlab {{.Version}}\n")
	root.PersistentFlags().String("output", "text", "form of the output: text or json")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w\nSee '%s --help'", err, c.CommandPath())}
	})
	root.PersistentPreRunE = func(c *cobra.Command, _ []string) error {
		if o := c.Flag("output").Value.String(); o != "text" && o != "json" {
			return usageError{fmt.Errorf("--output %s: it is text or json", o)}
		}
		if err := c.ValidateRequiredFlags(); err != nil {
			return usageError{fmt.Errorf("%w\nSee '%s --help'", err, c.CommandPath())}
		}
		return nil
	}
	root.AddGroup(
		&cobra.Group{ID: "lab", Title: "Labs:"},
		&cobra.Group{ID: "look", Title: "Look inside:"},
		&cobra.Group{ID: "measure", Title: "Measure:"},
		&cobra.Group{ID: "other", Title: "Other:"},
	)
	add := func(group string, cmds ...*cobra.Command) {
		for _, c := range cmds {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("lab", newUp(), newDown(), newLabs(), newInit(), newImport(), newValidate(), newGraph(), newFault(), newCloud())
	add("look", newPs(), newExec(), newLogs(), newFlows(), newTop(), newTrace(), newLink())
	add("measure", newBench(), newCompare(), newCalibrate(), newReport(), newExport(), newReproduce())
	add("other", newDoctor(), newController(), newAgent(), newImage())
	root.AddCommand(newSupervise(), newHostContainer(), newShape(), newService(), newLoad(), newGenerate(), newStandIn(), newKubeLoad())
	root.InitDefaultCompletionCmd() // now, for it to be as strict
	strict(root)
	return root
}

// strict makes errors of a verb's arguments, and of those of its own verbs, the
// user's own. A verb that has verbs takes nothing but these; alone it prints its
// help, unless it does something itself.
func strict(c *cobra.Command) {
	if c.HasSubCommands() {
		c.SuggestionsMinimumDistance = 2
		c.Args = knownVerb
		if c.RunE == nil {
			c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
		}
	} else if args := c.Args; args != nil {
		c.Args = func(c *cobra.Command, a []string) error {
			if err := args(c, a); err != nil {
				return usageError{fmt.Errorf("%w\nUsage: %s", err, c.UseLine())}
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		strict(sub)
	}
}

// knownVerb refuses what is no verb, and names the nearest one.
func knownVerb(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	text := fmt.Sprintf("unknown verb %q", args[0])
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		text += "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return usageError{fmt.Errorf("%s\nSee '%s --help'", text, c.CommandPath())}
}

// buildVersion is set by the linker (see Makefile).
var buildVersion string

func version() string {
	if buildVersion != "" {
		return buildVersion
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

func wantJSON(c *cobra.Command) bool { return c.Flag("output").Value.String() == "json" }
