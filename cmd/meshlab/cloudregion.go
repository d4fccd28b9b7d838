package main

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"meshlab.dev/meshlab/terraform"
)

// region is where a lab is made, as az sees it.
type region struct {
	az           string // path of the program
	location     string
	subscription string // ID; empty: az' own choice
}

// checkRegion looks whether a region has what items ask for, before anything is
// made, and says what it has found, a line each. What cannot be read is no failure:
// Azure has the last word.
func checkRegion(ctx context.Context, s terraform.Settings, items []terraform.Item, prices terraform.Prices) ([]string, error) {
	sizes, processors, unknown := prices.Need(items)
	if s.StandIns != "" || len(sizes) == 0 {
		return nil, nil
	}
	az, err := exec.LookPath("az")
	if err != nil {
		return []string{"quota, sizes and versions: not looked at, az is not on the PATH"}, nil
	}
	r := region{az, s.Location, s.Subscription}
	quota := "quota: not looked at, the processors of " + strings.Join(unknown, ", ") + " are not known here"
	if len(unknown) == 0 {
		if quota, err = r.quota(ctx, processors); err != nil {
			return nil, err
		}
	}
	for _, size := range sizes {
		if err := r.size(ctx, size); err != nil {
			return nil, err
		}
	}
	if slices.ContainsFunc(items, func(i terraform.Item) bool { return i.Type == "azurerm_kubernetes_cluster" }) {
		if err := r.kubernetes(ctx, s.Kubernetes); err != nil {
			return nil, err
		}
	}
	return []string{quota}, nil
}

func (r region) ask(ctx context.Context, to any, args ...string) error {
	args = append(args, "--location", r.location)
	if r.subscription != "" {
		args = append(args, "--subscription", r.subscription)
	}
	return askAz(ctx, r.az, to, args...)
}

// quota fails when one of the region's quotas of processors is too small.
func (r region) quota(ctx context.Context, need map[string]int) (string, error) {
	var usage []struct {
		Name struct {
			Value     string `json:"value"`
			Localized string `json:"localizedValue"`
		} `json:"name"`
		Current any `json:"currentValue"` // az prints numbers as text
		Limit   any `json:"limit"`
	}
	if err := r.ask(ctx, &usage, "vm", "list-usage"); err != nil {
		return fmt.Sprintf("quota: could not be read: %v", err), nil
	}
	most := 0
	for _, u := range usage {
		n := need[u.Name.Value]
		current, err1 := strconv.Atoi(fmt.Sprint(u.Current))
		limit, err2 := strconv.Atoi(fmt.Sprint(u.Limit))
		if n == 0 || err1 != nil || err2 != nil {
			continue
		}
		most = max(most, n)
		if limit-current < n {
			return "", fmt.Errorf("the quota is too small: %s in %s: %d of %d are used, and %d more are needed; take fewer nodes (--nodes) or another --location, or ask for more: https://aka.ms/ProdportalCRP", u.Name.Localized, r.location, current, limit, n)
		}
	}
	if most == 0 {
		return "quota: az does not tell one for " + r.location, nil
	}
	return fmt.Sprintf("quota: %d processors are needed in %s and can be had", most, r.location), nil
}

// size fails when the subscription may not use a size of machines in the region.
// Without --all, az leaves out what it may not.
// https://learn.microsoft.com/cli/azure/vm#az-vm-list-skus
func (r region) size(ctx context.Context, size string) error {
	var all []struct {
		Name         string `json:"name"`
		Restrictions []struct {
			Type string `json:"type"`
		} `json:"restrictions"`
	}
	if r.ask(ctx, &all, "vm", "list-skus", "--size", size, "--resource-type", "virtualMachines") != nil {
		return nil
	}
	for _, s := range all {
		whole := false // the restriction is of the region, and not of some of its zones
		for _, by := range s.Restrictions {
			whole = whole || by.Type == "Location"
		}
		if strings.EqualFold(s.Name, size) && !whole {
			return nil
		}
	}
	return fmt.Errorf("this subscription may not make machines of size %s in %s: take another --location, or for the nodes another --size (az vm list-skus --location %s --resource-type virtualMachines --output table)", size, r.location, r.location)
}

// kubernetes fails when AKS does not offer a version, as 1.35, in the region.
// Versions that only have long-term support need another tier than ours.
// https://learn.microsoft.com/azure/aks/supported-kubernetes-versions
func (r region) kubernetes(ctx context.Context, version string) error {
	var all struct {
		Values []struct {
			Version      string `json:"version"`
			IsPreview    bool   `json:"isPreview"` // null: no
			Capabilities struct {
				SupportPlan []string `json:"supportPlan"`
			} `json:"capabilities"`
		} `json:"values"`
	}
	if r.ask(ctx, &all, "aks", "get-versions") != nil {
		return nil
	}
	var offered []string
	for _, v := range all.Values {
		if !v.IsPreview && slices.Contains(v.Capabilities.SupportPlan, "KubernetesOfficial") {
			offered = append(offered, v.Version)
		}
	}
	if len(offered) == 0 || version == "" || slices.Contains(offered, version) {
		return nil
	}
	return fmt.Errorf("AKS in %s does not offer Kubernetes %s: take one of %s (--kubernetes)", r.location, version, strings.Join(offered, ", "))
}
