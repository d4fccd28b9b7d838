// Package terraform brings labs up in Azure and takes them down: the modules,
// embedded, and their driver over Terraform. It owns a folder for each lab, with
// the configuration, the state and the keys; what the modules make is
// Terraform's business, and whether to ask the user is the caller's.
//
// Nothing here is Azure's API: the providers are. Package standin has stand-ins
// for them, by which all of this is tested without an account.
package terraform
