package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/spf13/cobra"

	"meshlab.dev/meshlab/terraform"
	"meshlab.dev/meshlab/terraform/standin"
)

func newCloudDown() *cobra.Command {
	var unlock string
	c := &cobra.Command{
		Use:   "down [NAME]",
		Short: "Remove everything from Azure, and see that nothing remains",
		Long: `Remove a lab from Azure, whatever state an earlier run has left it in: what was
interrupted, what failed, what has deleted itself by --ttl. When Terraform cannot
delete resource by resource, the lab's group goes as a whole. Afterwards Azure is
asked whether the group is gone (with az; without it, that is said). Then the
lab's folder goes too. Removing a lab that is not there is no error.`,
		Example: "  meshlab cloud down\n  meshlab cloud down mine --unlock 6f1c2a9e-0d7b-4b5e-9a51-0d6f6a2f7b11",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			outliveReader()
			name, err := cloudName(args)
			if err != nil {
				return err
			}
			s, err := terraform.LoadSettings(cloudDir(name))
			if errors.Is(err, terraform.ErrNoLab) {
				if err := terraform.Discard(cloudDir(name), c.Name()); err != nil {
					return fmt.Errorf("remove what `meshlab cloud plan` has left: %w", err)
				}
				fmt.Fprintf(c.OutOrStdout(), "There is no lab %s in the cloud; nothing to do.\n", name)
				return nil
			}
			if err != nil {
				return err
			}
			return cloudDown(c, s, unlock)
		},
	}
	c.Flags().StringVar(&unlock, "unlock", "", "take away this lock of the state first, which a run that died has left")
	return c
}

func cloudDown(c *cobra.Command, s terraform.Settings, unlock string) error {
	ctx := c.Context()
	subscription, found, err := preflight(ctx, s)
	if err != nil {
		return err
	}
	s.Subscription = subscription
	p := newProgress(os.Stderr)
	defer p.stop()
	p.line("%s", found[0])
	lab, err := openCloud(c, s)
	if err != nil {
		return err
	}
	defer lab.Close()
	r := &cloudRun{settings: s, lab: lab, p: p}
	if r.prices, err = terraform.LoadPrices(); err != nil {
		return err
	}
	if unlock != "" {
		if err := lab.Unlock(ctx, unlock); err != nil {
			return err
		}
	}
	if err := lab.Destroy(ctx, r.event("removed")); err != nil {
		return r.failed(ctx, err)
	}
	p.stop()
	verified, err := gone(ctx, s)
	if err != nil {
		return fmt.Errorf("lab %s is out of Terraform's state, but %w", s.Name, err)
	}
	if err := lab.Forget(); err != nil {
		return fmt.Errorf("remove the lab's folder: %w", err)
	}
	if wantJSON(c) {
		return json.NewEncoder(c.OutOrStdout()).Encode(map[string]any{"removed": s.Name, "verified": verified})
	}
	fmt.Fprintf(c.OutOrStdout(), "Lab %s is removed; %s.\n", s.Name, verified)
	return nil
}

// gone asks the cloud itself whether anything of a lab remains, and says what it
// answers. Terraform's state is only what Terraform knows.
func gone(ctx context.Context, s terraform.Settings) (string, error) {
	if s.StandIns != "" {
		state, err := standin.Cloud{Path: s.StandIns}.Load()
		if err != nil {
			return "", err
		}
		for _, r := range state.Resources {
			if strings.Contains(r.ID, "/resourceGroups/meshlab-"+s.Name) {
				return "", fmt.Errorf("the stand-in cloud still holds %s", r.ID)
			}
		}
		return "the stand-in cloud holds nothing of it", nil
	}
	az, err := exec.LookPath("az")
	if err != nil {
		return "Azure was not asked, as az is not on the PATH", nil
	}
	var in []string // the subscription that the lab was made in
	if s.Subscription != "" {
		in = []string{"--subscription", s.Subscription}
	}
	for _, group := range []string{"meshlab-" + s.Name, "meshlab-" + s.Name + "-aks-nodes"} {
		var there bool
		if err := askAz(ctx, az, &there, append([]string{"group", "exists", "--name", group}, in...)...); err != nil {
			if os.Getenv("ARM_CLIENT_ID") != "" { // az need not be logged in then
				return "Azure was not asked, as az cannot: " + err.Error(), nil
			}
			return "", err
		}
		if there {
			return "", fmt.Errorf("its group %s is still in Azure, and may cost: az group delete --name %s", group, strings.Join(append([]string{group}, in...), " "))
		}
	}
	return "Azure has no group of it any more", nil
}
