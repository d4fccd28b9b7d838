package standin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/provider"
	"github.com/hashicorp/terraform-plugin-framework/provider/schema"
	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"golang.org/x/sys/unix"
)

// versions are those of the real providers that the stand-ins have the schemas
// of, and whose place they take.
var versions = map[string]string{"azurerm": "4.68.0", "helm": "2.17.0"}

// Serve is the stand-in for a provider: it talks to the Terraform that started
// this process, until that ends it. Standard input and output are Terraform's.
func Serve(ctx context.Context, name string, cloud Cloud) error {
	if versions[name] == "" {
		return fmt.Errorf("there is no stand-in for provider %q", name)
	}
	schemas, err := schemasOf(name)
	if err != nil {
		return err
	}
	// A Terraform that is killed leaves its providers behind; this one ends too.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("end with Terraform: %w", err)
	}
	return providerserver.Serve(ctx, func() provider.Provider { return &standIn{name: name, schemas: schemas, cloud: cloud} },
		providerserver.ServeOpts{Address: address(name), ProtocolVersion: 6})
}

func address(name string) string { return "registry.terraform.io/hashicorp/" + name }

// standIn is a provider.
type standIn struct {
	name    string
	schemas []resourceSchema
	cloud   Cloud
	account account
}

// account is what the provider was configured with.
type account struct {
	subscription string // of azurerm
	host         string // of helm: the cluster's API server
}

func (p *standIn) Metadata(_ context.Context, _ provider.MetadataRequest, resp *provider.MetadataResponse) {
	resp.TypeName, resp.Version = p.name, versions[p.name]
}

func (p *standIn) Schema(_ context.Context, _ provider.SchemaRequest, resp *provider.SchemaResponse) {
	text := func() schema.Attribute { return schema.StringAttribute{Optional: true, Sensitive: true} }
	if p.name == "helm" {
		resp.Schema = schema.Schema{Blocks: map[string]schema.Block{"kubernetes": schema.ListNestedBlock{NestedObject: schema.NestedBlockObject{
			Attributes: map[string]schema.Attribute{"host": text(), "client_certificate": text(), "client_key": text(), "cluster_ca_certificate": text(), "token": text(), "config_path": text()},
		}}}}
		return
	}
	// https://registry.terraform.io/providers/hashicorp/azurerm/4.68.0/docs and .../docs/guides/features-block
	resp.Schema = schema.Schema{
		Attributes: map[string]schema.Attribute{
			"subscription_id":                 text(),
			"tenant_id":                       text(),
			"client_id":                       text(),
			"use_cli":                         schema.BoolAttribute{Optional: true},
			"use_oidc":                        schema.BoolAttribute{Optional: true},
			"resource_provider_registrations": text(),
			"resource_providers_to_register":  schema.ListAttribute{ElementType: types.StringType, Optional: true},
		},
		Blocks: map[string]schema.Block{"features": schema.ListNestedBlock{NestedObject: schema.NestedBlockObject{
			Blocks: map[string]schema.Block{
				"resource_group": schema.ListNestedBlock{NestedObject: schema.NestedBlockObject{
					Attributes: map[string]schema.Attribute{"prevent_deletion_if_contains_resources": schema.BoolAttribute{Optional: true}},
				}},
			},
		}}},
	}
}

func (p *standIn) Configure(ctx context.Context, req provider.ConfigureRequest, resp *provider.ConfigureResponse) {
	resp.ResourceData, resp.DataSourceData = &p.account, &p.account
	if p.name == "helm" {
		var host types.String
		resp.Diagnostics.Append(req.Config.GetAttribute(ctx, path.Root("kubernetes").AtListIndex(0).AtName("host"), &host)...)
		p.account.host = host.ValueString()
		return
	}
	var features []types.Object
	resp.Diagnostics.Append(req.Config.GetAttribute(ctx, path.Root("features"), &features)...)
	if len(features) != 1 {
		resp.Diagnostics.AddError("Insufficient features blocks", `At least 1 "features" blocks are required.`)
	}
	// Provider 4 wants a subscription in any case.
	if p.account.subscription = os.Getenv("ARM_SUBSCRIPTION_ID"); p.account.subscription == "" {
		resp.Diagnostics.AddError("`subscription_id` is a required provider property when performing a plan/apply operation", "Set ARM_SUBSCRIPTION_ID.")
	}
	s, err := p.cloud.Load()
	if err != nil {
		resp.Diagnostics.AddError("the stand-in cloud", err.Error())
		return
	}
	if slices.ContainsFunc(s.Faults, func(f Fault) bool { return f.Kind == Credentials }) {
		resp.Diagnostics.AddError("building account: could not acquire access token to parse claims",
			"AADSTS700082: The refresh token has expired due to inactivity. (stand-in)")
	}
}

func (p *standIn) Resources(context.Context) []func() resource.Resource {
	var all []func() resource.Resource
	for _, s := range p.schemas {
		all = append(all, func() resource.Resource { return &standInResource{schema: s, cloud: p.cloud} })
	}
	return all
}

func (p *standIn) DataSources(context.Context) []func() datasource.DataSource {
	if p.name != "azurerm" {
		return nil
	}
	return []func() datasource.DataSource{func() datasource.DataSource { return &clusterSource{cloud: p.cloud} }}
}

// errGone says that a resource is not there.
var errGone = errors.New("it was not found (404 Not Found)")
