package terraform

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Cause is why something in the cloud could not be done.
type Cause string

// Causes that have a remedy of their own.
const (
	QuotaUsedUp   Cause = "quota"
	LoginExpired  Cause = "login"
	NotAllowed    Cause = "not allowed"
	AlreadyThere  Cause = "already there"
	StateLocked   Cause = "state locked"
	ChecksumWrong Cause = "checksum"
	NoRegistry    Cause = "no provider registry"
	SizeRefused   Cause = "size or region"
	VersionOld    Cause = "version of kubernetes"
	ClusterSilent Cause = "cluster does not answer"
	ReleaseThere  Cause = "release is there"
	Other         Cause = "other"
)

// Problem is a failure of Terraform, its cause, and what mends it.
type Problem struct {
	Doing   string // what was done
	Address string // the resource; may be empty
	Text    string // what Terraform or Azure says
	Cause   Cause
	Remedy  string
	LockID  string // of StateLocked
	Who     string // holds the lock
	More    int    // further failures
}

func (p *Problem) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: ", p.Doing)
	if p.Address != "" {
		fmt.Fprintf(&b, "%s: ", p.Address)
	}
	b.WriteString(p.Text)
	if p.More > 0 {
		fmt.Fprintf(&b, " (and %d more)", p.More)
	}
	if p.Remedy != "" {
		fmt.Fprintf(&b, "\n%s", p.Remedy)
	}
	return b.String()
}

// diagnostic is one message of Terraform's JSON log.
// https://developer.hashicorp.com/terraform/internals/machine-readable-ui
type diagnostic struct {
	Severity string `json:"severity"`
	Summary  string `json:"summary"`
	Detail   string `json:"detail"`
	Address  string `json:"address"`
}

func (d diagnostic) text() string {
	return strings.TrimSpace(d.Summary + " " + strings.TrimSpace(d.Detail))
}

var (
	lockID    = regexp.MustCompile(`(?m)^\s*ID:\s+(\S+)`)
	lockWho   = regexp.MustCompile(`(?m)^\s*Who:\s+(\S+)`)
	lockSince = regexp.MustCompile(`(?m)^\s*Created:\s+(.+)$`)
	existsID  = regexp.MustCompile(`the ID "([^"]+)" already exists`)
	location  = regexp.MustCompile(`Location: (\w+)`)
)

// problemOf makes a Problem of what Terraform has told.
func problemOf(doing, lab string, told []diagnostic, err error) error {
	var errs []diagnostic
	for _, d := range told {
		if d.Severity == "error" {
			errs = append(errs, d)
		}
	}
	if len(errs) == 0 {
		if err == nil {
			err = errors.New("terraform failed and did not say why")
		}
		errs = []diagnostic{{Summary: err.Error()}}
	}
	p := &Problem{Doing: doing, Address: errs[0].Address, Text: errs[0].text(), More: len(errs) - 1}
	p.explain(lab)
	return p
}

func (p *Problem) explain(lab string) {
	has := func(parts ...string) bool {
		for _, part := range parts {
			if strings.Contains(p.Text, part) {
				return true
			}
		}
		return false
	}
	switch {
	case has("Error acquiring the state lock"):
		p.Cause, p.LockID, p.Who = StateLocked, first(lockID, p.Text), first(lockWho, p.Text)
		p.Text = fmt.Sprintf("the state is locked by %s since %s (lock %s)", p.Who, first(lockSince, p.Text), p.LockID)
		p.Remedy = fmt.Sprintf("Wait for that run. If it has died, take its lock away: meshlab cloud down %s --unlock %s", lab, p.LockID)
	case has("quota", "QuotaExceeded"):
		where := first(location, p.Text)
		if where == "" {
			where = "REGION"
		}
		p.Cause = QuotaUsedUp
		p.Remedy = fmt.Sprintf("See what is used: az vm list-usage --location %s --output table. Then ask for more (https://aka.ms/ProdportalCRP), or take fewer nodes: meshlab cloud up %s --nodes 1", where, lab)
	case has("SkuNotAvailable", "VMSizeNotSupported", "not allowed in your subscription in location", "AllocationFailed", "RequestDisallowedBy"):
		p.Cause = SizeRefused
		p.Remedy = fmt.Sprintf("This subscription may not use that size or region, or it has none free: az vm list-skus --location REGION --resource-type virtualMachines --output table. A lab does not move: meshlab cloud down %s, then up with another --size or --location", lab)
	case has("K8sVersionNotSupported"):
		p.Cause = VersionOld
		p.Remedy = fmt.Sprintf("See what AKS offers: az aks get-versions --location REGION --output table. Then: meshlab cloud down %s, and up with --kubernetes VERSION", lab)
	case has("Kubernetes cluster unreachable"):
		p.Cause = ClusterSilent
		p.Remedy = fmt.Sprintf("AKS' API server answers the address of --from alone, and may take two minutes to know it: is yours (curl -4 ifconfig.me) another one? meshlab cloud up %s --from ADDRESS", lab)
	case has("cannot re-use a name that is still in use"):
		p.Cause = ReleaseThere
		p.Remedy = fmt.Sprintf("An interrupted run has left Consul half installed: KUBECONFIG of `meshlab cloud status %s`, helm uninstall consul --namespace consul, then up again; or meshlab cloud down %s", lab, lab)
	case has("AADSTS", "az login", "could not acquire access token", "obtain a token", "could not configure AzureCli Authorizer", "client secret keys"):
		p.Cause = LoginExpired
		p.Remedy = "Log in again: az login (or renew the secret in ARM_CLIENT_SECRET)"
	case has("`subscription_id` is a required provider property"):
		p.Cause = LoginExpired
		p.Remedy = "Say which subscription: export ARM_SUBSCRIPTION_ID=$(az account show --query id --output tsv)"
	case has("AuthorizationFailed", "does not have authorization"):
		p.Cause = NotAllowed
		p.Remedy = "Whoever makes a lab needs the roles Contributor and Role Based Access Control Administrator on the subscription: az role assignment list --assignee $(az account show --query user.name --output tsv) --output table"
	case has("already exists - to be managed via Terraform"):
		p.Cause = AlreadyThere
		p.Remedy = fmt.Sprintf("Something of that name was there before and is not in this lab's state: look at it (az resource show --ids %s), then delete it or choose another name", first(existsID, p.Text))
	case has("checksums previously recorded"):
		p.Cause = ChecksumWrong
		p.Remedy = "The provider that was fetched is not the one that the lock file names. Do not go on before you know why; docs/azure.md says how the lock file is made anew"
	case has("Failed to query available provider packages", "could not connect to registry"):
		p.Cause = NoRegistry
		p.Remedy = "Terraform fetches its providers from registry.terraform.io: it must be reachable, or a mirror named in Terraform's configuration (https://developer.hashicorp.com/terraform/cli/config/config-file)"
	default:
		p.Cause = Other
	}
}

func first(r *regexp.Regexp, text string) string {
	if m := r.FindStringSubmatch(text); m != nil {
		return strings.TrimSpace(m[1])
	}
	return ""
}
