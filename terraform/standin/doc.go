// Package standin is a STAND-IN for the Terraform providers azurerm and helm,
// and for the cloud behind them: no Azure, no network, no account. Terraform
// itself is real. What a run "makes" is written to one file, the cloud, and
// that is all there is of it.
//
// It exists because nobody can try the modules on Azure without an account:
// Terraform validates them against the schemas here, plans, applies, fails
// half-way as the file demands, and destroys. The schemas are those resources,
// blocks and attributes of the real providers that the modules use, with what
// is required, optional and computed as the providers' documentation says
// (schemas/*.txt name the pages). What it cannot show is whether Azure accepts
// the values: docs/azure.md lists that.
//
// The package knows Terraform's plugin protocol; it does not know the modules,
// nor package terraform that drives them.
package standin
