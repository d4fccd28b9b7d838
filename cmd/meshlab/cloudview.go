package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"meshlab.dev/meshlab/terraform"
)

func printPlan(w io.Writer, plan terraform.Plan, prices terraform.Prices, s terraform.Settings) {
	if plan.Empty() {
		fmt.Fprintf(w, "Lab %s is as it should be; nothing to make.\n", s.Name)
		return
	}
	for _, part := range []struct {
		title string
		items []terraform.Item
	}{{"To make", plan.Create}, {"To delete and make anew", plan.Replace}, {"To change", plan.Change}, {"To remove", plan.Delete}} {
		if len(part.items) > 0 {
			fmt.Fprintf(w, "%s in %s (%d):\n", part.title, s.Location, len(part.items))
			printItems(w, part.items)
		}
	}
	if plan.Joining {
		fmt.Fprintln(w, "Virtual machines that are added join the cluster only within two hours of its beginning; later ones cost, and are no nodes.")
	}
	printCost(w, plan.After, prices)
	if at := terraform.Expires(plan.After); at != nil {
		fmt.Fprintf(w, "Once that is done, Azure tries to delete it by itself at %s.\n", localTime(*at))
	} else {
		fmt.Fprintln(w, "It costs until you remove it: there is no --ttl.")
	}
}

// printItems lists resources, with the cost of those that cost.
func printItems(w io.Writer, items []terraform.Item) {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, i := range items {
		usd, text := 0.0, ""
		for _, c := range i.Costs {
			usd += c.USD
			if text != "" {
				text += ", "
			}
			text += fmt.Sprintf("%d x %s", c.Count, c.What)
			if !c.Known {
				text += " (no price known)"
			}
		}
		if text == "" {
			fmt.Fprintf(t, "  %s\t\t\n", i.Address)
			continue
		}
		fmt.Fprintf(t, "  %s\t%.4f USD/h\t%s\n", i.Address, usd, text)
	}
	t.Flush()
}

func printCost(w io.Writer, items []terraform.Item, prices terraform.Prices) {
	usd, complete := terraform.Sum(items)
	about := "about"
	if !complete {
		about = "at least"
	}
	fmt.Fprintf(w, "Cost: %s %.2f USD an hour, %.2f a day, and traffic. An estimate by prices of %s as of %s, without tax.\n", about, usd, 24*usd, prices.Region, prices.Date)
}

// localTime is a time as people here read it.
func localTime(at time.Time) string { return at.Local().Format("2006-01-02 15:04 MST") }

func printAccess(w io.Writer, name string, items []terraform.Item, a terraform.Access, key string) {
	fmt.Fprintf(w, "Resource group: %s, registry: %s\n", a.ResourceGroup, a.Registry)
	if a.Kubeconfig != "" {
		fmt.Fprintf(w, "AKS with Consul: export KUBECONFIG=%s\n", a.Kubeconfig)
	}
	switch {
	case a.OVSKubeconfig != "":
		fmt.Fprintf(w, "Open vSwitch: export KUBECONFIG=%s\n", a.OVSKubeconfig)
		fmt.Fprintf(w, "Its control plane: ssh -i %s %s\n", key, a.SSH)
	case a.SSH != "":
		fmt.Fprintf(w, "Open vSwitch: meshlab cloud kubeconfig %s, once it runs; its control plane: ssh -i %s %s\n", name, key, a.SSH)
	case a.Bastion != "" && a.Machine != "":
		fmt.Fprintf(w, "Open vSwitch, by Bastion: az network bastion ssh --name %s --resource-group %s --target-resource-id %s --auth-type ssh-key --username meshlab --ssh-key %s\n", a.Bastion, a.ResourceGroup, a.Machine, key)
	}
	switch at := terraform.Expires(items); {
	case at == nil:
	case at.Before(time.Now()):
		fmt.Fprintf(w, "Azure was to delete it at %s; see that nothing is left: meshlab cloud down %s\n", localTime(*at), name)
	default:
		fmt.Fprintf(w, "Azure tries to delete it by itself at %s.\n", localTime(*at))
	}
}

// cloudStatus is a lab in the cloud as JSON.
type cloudStatus struct {
	Name      string           `json:"name"`
	StandIns  string           `json:"stand_ins,omitempty"` // then nothing of this is real
	Expires   *time.Time       `json:"expires,omitempty"`   // by the workflow that there is
	Resources []terraform.Item `json:"resources"`
	USD       float64          `json:"usd_per_hour"`
	Complete  bool             `json:"all_prices_known"`
	Access    terraform.Access `json:"access"`
}

func printStatusJSON(w io.Writer, s terraform.Settings, items []terraform.Item, a terraform.Access) error {
	usd, complete := terraform.Sum(items)
	return json.NewEncoder(w).Encode(cloudStatus{s.Name, s.StandIns, terraform.Expires(items), items, usd, complete, a})
}

func printPlanJSON(w io.Writer, plan terraform.Plan, prices terraform.Prices) error {
	usd, complete := terraform.Sum(plan.After)
	return json.NewEncoder(w).Encode(map[string]any{
		"create": plan.Create, "replace": plan.Replace, "change": plan.Change, "delete": plan.Delete,
		"usd_per_hour": usd, "all_prices_known": complete, "prices_of": prices.Date,
	})
}
