package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"meshlab.dev/meshlab/terraform"
)

func newCloudPlan() *cobra.Command {
	var f cloudFlags
	c := &cobra.Command{
		Use:   "plan [NAME]",
		Short: "What would be made in Azure, and what it costs by the hour; makes nothing",
		Long: `Look at the login, the quota, and whether the region has the sizes and the version
of Kubernetes, and say what 'meshlab cloud up' with the same flags would make, with an estimate of its cost by the hour. Nothing is made,
and what the flags say does not hold for later verbs. What Terraform needs is written into
the lab's folder, ~/.local/state/meshlab/cloud/NAME; 'meshlab cloud down' removes it.`,
		Example: `  meshlab cloud plan --from 198.51.100.7
  meshlab cloud plan --from 198.51.100.7 --clusters ovs --nodes 3 --output json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			r, err := f.begin(c, args)
			if err != nil {
				return err
			}
			defer r.close()
			plan, err := r.plan(c.Context())
			if err != nil {
				return err
			}
			r.p.stop()
			if wantJSON(c) {
				return printPlanJSON(c.OutOrStdout(), plan, r.prices)
			}
			printPlan(c.OutOrStdout(), plan, r.prices, r.settings)
			return nil
		},
	}
	f.add(c)
	return c
}

func newCloudUp() *cobra.Command {
	var f cloudFlags
	var yes bool
	c := &cobra.Command{
		Use:   "up [NAME]",
		Short: "Make the clusters in Azure, after saying what they cost",
		Long: `Make a lab in Azure: it says what will be made and what that costs, asks, and
makes it. What your flags say holds from then on. When something fails half-way, or
on Ctrl-C, it says what exists by then and costs money; 'meshlab cloud up' goes on
from there, 'meshlab cloud down' removes it. Ctrl-C waits until Terraform has written
down what it began.

--ttl: a workflow in Azure tries to delete the lab at that time, with an identity that
may delete this lab and nothing else. It does not need this machine. What Azure cannot
delete then stays and costs: look afterwards, by 'meshlab cloud down'.
The state, the SSH key and the kubeconfig are in ~/.local/state/meshlab/cloud/NAME,
for you alone; with --backend-config the state is in a backend of yours.`,
		Example: `  meshlab cloud up --from 198.51.100.7 --ttl 3h
  meshlab cloud up --from 198.51.100.7 --clusters aks --yes
  meshlab cloud up --from 198.51.100.7 --backend-config storage_account_name=mine --backend-config container_name=labs --backend-config key=lab1 --backend-config use_azuread_auth=true
  meshlab cloud up rehearsal --from 198.51.100.7 --stand-in /tmp/cloud.json --yes`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if !yes && !term.IsTerminal(int(os.Stdin.Fd())) {
				return usageError{errors.New("nobody can be asked whether to go on: give --yes")}
			}
			r, err := f.begin(c, args)
			if err != nil {
				return err
			}
			defer r.close()
			return r.up(c, yes)
		},
	}
	f.add(c)
	c.Flags().BoolVar(&yes, "yes", false, "do not ask, make it")
	return c
}

// cloudRun is one run of a verb over a lab in the cloud.
type cloudRun struct {
	settings terraform.Settings
	prices   terraform.Prices
	lab      *terraform.Lab
	p        *progress
}

// begin looks at everything that plan and up need, and opens the lab.
func (f *cloudFlags) begin(c *cobra.Command, args []string) (*cloudRun, error) {
	outliveReader()
	name, err := cloudName(args)
	if err != nil {
		return nil, err
	}
	if _, err := terraform.Find(); err != nil {
		return nil, err
	}
	r := &cloudRun{}
	if r.settings, err = f.settings(c, name, time.Now()); err != nil {
		return nil, err
	}
	if r.prices, err = terraform.LoadPrices(); err != nil {
		return nil, err
	}
	var found []string
	if r.settings.Subscription, found, err = preflight(c.Context(), r.settings); err != nil {
		return nil, err
	}
	r.p = newProgress(os.Stderr)
	for _, line := range found {
		r.p.line("%s", line)
	}
	if r.lab, err = openCloud(c, r.settings); err != nil {
		r.p.stop()
		return nil, err
	}
	r.settings = r.lab.Settings
	r.p.line("terraform %s, folder %s", r.lab.Version, cloudDir(name))
	r.p.start("plan")
	return r, nil
}

func (r *cloudRun) close() {
	r.p.stop()
	r.lab.Close()
}

// plan says what is to be done, when it can be.
func (r *cloudRun) plan(ctx context.Context) (terraform.Plan, error) {
	plan, err := r.lab.Plan(ctx, r.prices)
	if err != nil {
		return plan, err
	}
	if len(plan.Machines) > 0 {
		return plan, fmt.Errorf("the machines of a cluster that is there cannot be changed, its nodes would not come back: %s; give the old --size and --kubernetes, or take the lab down first (meshlab cloud down %s)", strings.Join(plan.Machines, "; "), r.settings.Name)
	}
	found, err := checkRegion(ctx, r.settings, plan.Needed(), r.prices)
	for _, line := range found {
		r.p.line("%s", line)
	}
	return plan, err
}

func (r *cloudRun) up(c *cobra.Command, yes bool) error {
	ctx := c.Context()
	plan, err := r.plan(ctx)
	if err != nil {
		return r.failed(ctx, err)
	}
	r.p.stop()
	if !wantJSON(c) {
		printPlan(c.OutOrStdout(), plan, r.prices, r.settings)
	}
	if !plan.Empty() {
		if !yes {
			if err := confirm(ctx, c.InOrStdin(), c.OutOrStdout()); err != nil {
				return err
			}
		}
		r.p = newProgress(os.Stderr)
		err := r.lab.Apply(ctx, r.event("made"))
		r.p.stop()
		if err != nil {
			return r.failed(ctx, err)
		}
	} else if err := r.lab.Keep(); err != nil {
		return fmt.Errorf("keep the lab's settings: %w", err)
	}
	access, err := r.lab.Access(ctx)
	if err != nil {
		return err
	}
	items, err := r.lab.Exists(ctx, r.prices)
	if err != nil {
		return err
	}
	if wantJSON(c) {
		return printStatusJSON(c.OutOrStdout(), r.settings, items, access)
	}
	printAccess(c.OutOrStdout(), r.settings.Name, items, access, r.lab.SSHKey())
	printCost(c.OutOrStdout(), items, r.prices)
	fmt.Fprintf(c.OutOrStdout(), "Remove it: meshlab cloud down %s\n", r.settings.Name)
	return nil
}

// failed says why, and what exists by then and costs money.
func (r *cloudRun) failed(ctx context.Context, err error) error {
	r.p.stop()
	var b strings.Builder
	items, listErr := r.lab.Exists(context.WithoutCancel(ctx), r.prices)
	switch {
	case listErr != nil:
		fmt.Fprintf(&b, "\nWhat exists cannot be told: %v\nLook yourself: az resource list --resource-group meshlab-%s --output table", listErr, r.settings.Name)
	case len(items) == 0:
		b.WriteString("\nNothing exists, nothing costs.")
	default:
		fmt.Fprintf(&b, "\nThis exists now:\n")
		printItems(&b, items)
		printCost(&b, items, r.prices)
		fmt.Fprintf(&b, "What was being made when it stopped may exist too; `down` removes it with the group.\nGo on: meshlab cloud up %s\nRemove it: meshlab cloud down %s", r.settings.Name, r.settings.Name)
	}
	return fmt.Errorf("lab %s: %w%s", r.settings.Name, err, b.String())
}

// event shows what happens to resources.
func (r *cloudRun) event(done string) func(terraform.Event) {
	p := r.p
	return func(e terraform.Event) {
		switch e.Kind {
		case terraform.Started:
			p.start(e.Address)
		case terraform.Done:
			p.finish(e.Address, done, e.Elapsed)
		case terraform.Failed:
			p.finish(e.Address, "FAILED", e.Elapsed)
		}
	}
}

// confirm asks, and fails unless the answer is yes.
func confirm(ctx context.Context, in io.Reader, out io.Writer) error {
	fmt.Fprint(out, "Go on? Only yes is taken for a yes: ")
	answer := make(chan string, 1)
	go func() {
		text, _ := bufio.NewReader(in).ReadString('\n')
		answer <- strings.TrimSpace(text)
	}()
	select {
	case <-ctx.Done():
		return errors.New("interrupted; nothing was made")
	case text := <-answer:
		if text != "yes" {
			return errors.New("not done, as it was not wanted; nothing was made")
		}
		return nil
	}
}

func newCloudStatus() *cobra.Command {
	return &cobra.Command{
		Use:   "status [NAME]",
		Short: "What exists in Azure, and what it costs by the hour",
		Long: `List what Terraform's state says that exists, what each costs by the hour, when
Azure is to delete the lab, and how to reach it. Azure itself is not asked.`,
		Example: "  meshlab cloud status\n  meshlab cloud status --output json | jq .usd_per_hour",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			name, err := cloudName(args)
			if err != nil {
				return err
			}
			s, err := terraform.LoadSettings(cloudDir(name))
			if errors.Is(err, terraform.ErrNoLab) {
				return fmt.Errorf("lab %s: %w; `meshlab cloud up` makes one", name, err)
			}
			if err != nil {
				return err
			}
			prices, err := terraform.LoadPrices()
			if err != nil {
				return err
			}
			lab, err := openCloud(c, s)
			if err != nil {
				return err
			}
			defer lab.Close()
			items, err := lab.Exists(c.Context(), prices)
			if err != nil {
				return err
			}
			access, err := lab.Access(c.Context())
			if err != nil {
				return err
			}
			if wantJSON(c) {
				return printStatusJSON(c.OutOrStdout(), s, items, access)
			}
			printItems(c.OutOrStdout(), items)
			if len(items) > 0 {
				printAccess(c.OutOrStdout(), name, items, access, lab.SSHKey())
			}
			printCost(c.OutOrStdout(), items, prices)
			return nil
		},
	}
}
