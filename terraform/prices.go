package terraform

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

//go:embed prices.json
var pricesFile []byte

// Prices is the table that estimates are made from; its zero value knows no
// price.
type Prices struct {
	Date     string `json:"date"` // when the table was made
	Region   string `json:"region"`
	Currency string `json:"currency"`
	Note     string `json:"note"`
	Hourly   map[string]struct {
		USD    float64 `json:"usd"`
		Source string  `json:"source"`
	} `json:"hourly"`
	// Processors are those of a size of machines, and the quota of the region that
	// they count towards, as `az vm list-usage` names it.
	Processors map[string]struct {
		Count int    `json:"count"`
		Quota string `json:"quota"`
	} `json:"processors"`
}

// LoadPrices returns the table that the program has.
func LoadPrices() (Prices, error) {
	var p Prices
	if err := json.Unmarshal(pricesFile, &p); err != nil {
		return p, fmt.Errorf("read the table of prices: %w", err)
	}
	return p, nil
}

// Cost is one thing that costs by the hour.
type Cost struct {
	What  string  `json:"what"` // as in the table
	Count int     `json:"count"`
	USD   float64 `json:"usd_per_hour"` // of all of them
	Known bool    `json:"known"`        // the table has its price
}

// of is what a resource costs while it exists. Traffic comes on top.
func (p Prices) of(i Item) []Cost {
	var all []Cost
	add := func(count int, format string, args ...any) {
		what := fmt.Sprintf(format, args...)
		entry, known := p.Hourly[what]
		all = append(all, Cost{what, count, float64(count) * entry.USD, known})
	}
	switch v := values(i.values); i.Type {
	case "azurerm_linux_virtual_machine":
		add(1, "vm %s", v.text("size"))
		disk := v.block("os_disk")
		add(1, "disk %s %d", disk.text("storage_account_type"), disk.number("disk_size_gb"))
	case "azurerm_linux_virtual_machine_scale_set":
		n := v.number("instances")
		add(n, "vm %s", v.text("sku"))
		disk := v.block("os_disk")
		add(n, "disk %s %d", disk.text("storage_account_type"), disk.number("disk_size_gb"))
	case "azurerm_kubernetes_cluster":
		add(1, "aks %s", v.text("sku_tier"))
		pool := v.block("default_node_pool")
		add(pool.number("node_count"), "vm %s", pool.text("vm_size"))
		// AKS takes Premium disks where the size of the machines knows them.
		add(pool.number("node_count"), "disk Premium_LRS %d", pool.number("os_disk_size_gb"))
	case "azurerm_nat_gateway":
		add(1, "nat gateway")
	case "azurerm_public_ip":
		add(1, "public address")
	case "azurerm_bastion_host":
		add(1, "bastion %s", v.text("sku"))
	case "azurerm_container_registry":
		add(1, "registry %s", v.text("sku"))
	case "azurerm_logic_app_workflow":
		add(1, "workflow")
	}
	return all
}

// Sum adds up what items cost by the hour, and says whether the table knows all
// of the prices: if not, they cost more.
func Sum(items []Item) (usd float64, complete bool) {
	complete = true
	for _, i := range items {
		for _, c := range i.Costs {
			usd += c.USD
			complete = complete && c.Known
		}
	}
	return usd, complete
}

// allProcessors is the quota that all processors count towards.
const allProcessors = "cores"

// Need is what items ask of a region: the sizes of their machines, processors by
// quota, and the sizes whose processors the table does not know.
func (p Prices) Need(items []Item) (sizes []string, processors map[string]int, unknown []string) {
	processors = map[string]int{}
	for _, i := range items {
		for _, c := range i.Costs {
			size, ok := strings.CutPrefix(c.What, "vm ")
			if !ok {
				continue
			}
			if !slices.Contains(sizes, size) {
				sizes = append(sizes, size)
			}
			entry, known := p.Processors[size]
			if !known {
				unknown = append(unknown, size)
				continue
			}
			processors[entry.Quota] += c.Count * entry.Count
			processors[allProcessors] += c.Count * entry.Count
		}
	}
	return sizes, processors, unknown
}

// machinesOf is what the machines of a resource are, if it has any: their size and
// the version of Kubernetes.
func machinesOf(kind string, v values) string {
	switch kind {
	case "azurerm_linux_virtual_machine":
		return v.text("size")
	case "azurerm_linux_virtual_machine_scale_set":
		return v.text("sku")
	case "azurerm_kubernetes_cluster":
		return v.block("default_node_pool").text("vm_size") + " with Kubernetes " + v.text("kubernetes_version")
	}
	return ""
}

// values are a resource's, as Terraform prints them as JSON.
type values map[string]any

func (v values) text(name string) string {
	s, _ := v[name].(string)
	return s
}

func (v values) number(name string) int {
	switch n := v[name].(type) {
	case float64:
		return int(n)
	case json.Number:
		i, _ := n.Int64()
		return int(i)
	}
	return 0
}

func (v values) block(name string) values {
	list, _ := v[name].([]any)
	if len(list) == 0 {
		return nil
	}
	b, _ := list[0].(map[string]any)
	return b
}
