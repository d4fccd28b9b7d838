package standin

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/datasource/schema"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

// clusterSource is data source azurerm_kubernetes_cluster: reads what a cluster
// was made as.
// https://registry.terraform.io/providers/hashicorp/azurerm/4.68.0/docs/data-sources/kubernetes_cluster
type clusterSource struct {
	cloud   Cloud
	account *account
}

// clusterData are its values.
type clusterData struct {
	ID            types.String    `tfsdk:"id"`
	Name          types.String    `tfsdk:"name"`
	ResourceGroup types.String    `tfsdk:"resource_group_name"`
	KubeConfig    []clusterAccess `tfsdk:"kube_config"`
}

type clusterAccess struct {
	Host        string `tfsdk:"host" json:"host"`
	Username    string `tfsdk:"username" json:"username"`
	Password    string `tfsdk:"password" json:"password"`
	Certificate string `tfsdk:"client_certificate" json:"client_certificate"`
	Key         string `tfsdk:"client_key" json:"client_key"`
	CA          string `tfsdk:"cluster_ca_certificate" json:"cluster_ca_certificate"`
}

func (c *clusterSource) Metadata(_ context.Context, _ datasource.MetadataRequest, resp *datasource.MetadataResponse) {
	resp.TypeName = "azurerm_kubernetes_cluster"
}

func (c *clusterSource) Schema(_ context.Context, _ datasource.SchemaRequest, resp *datasource.SchemaResponse) {
	field := schema.StringAttribute{Computed: true}
	resp.Schema = schema.Schema{Attributes: map[string]schema.Attribute{
		"id":                  field,
		"name":                schema.StringAttribute{Required: true},
		"resource_group_name": schema.StringAttribute{Required: true},
		"kube_config": schema.ListNestedAttribute{Computed: true, Sensitive: true, NestedObject: schema.NestedAttributeObject{Attributes: map[string]schema.Attribute{
			"host": field, "username": field, "password": field, "client_certificate": field, "client_key": field, "cluster_ca_certificate": field,
		}}},
	}}
}

func (c *clusterSource) Configure(_ context.Context, req datasource.ConfigureRequest, _ *datasource.ConfigureResponse) {
	if a, ok := req.ProviderData.(*account); ok {
		c.account = a
	}
}

func (c *clusterSource) Read(ctx context.Context, req datasource.ReadRequest, resp *datasource.ReadResponse) {
	var d clusterData
	resp.Diagnostics.Append(req.Config.GetAttribute(ctx, path.Root("name"), &d.Name)...)
	resp.Diagnostics.Append(req.Config.GetAttribute(ctx, path.Root("resource_group_name"), &d.ResourceGroup)...)
	if resp.Diagnostics.HasError() {
		return
	}
	id := strings.Join([]string{"/subscriptions", c.account.subscription, "resourceGroups", d.ResourceGroup.ValueString(), "providers/Microsoft.ContainerService/managedClusters", d.Name.ValueString()}, "/")
	s, err := c.cloud.Load()
	if err != nil {
		resp.Diagnostics.AddError("reading azurerm_kubernetes_cluster (stand-in)", err.Error())
		return
	}
	at := s.find("azurerm_kubernetes_cluster", id)
	if at < 0 {
		resp.Diagnostics.AddError("reading azurerm_kubernetes_cluster (stand-in) "+id, errGone.Error())
		return
	}
	var made struct {
		KubeConfig []clusterAccess `json:"kube_config"`
	}
	if err := json.Unmarshal(s.Resources[at].Attributes, &made); err != nil {
		resp.Diagnostics.AddError("reading azurerm_kubernetes_cluster (stand-in) "+id, err.Error())
		return
	}
	d.ID, d.KubeConfig = types.StringValue(id), made.KubeConfig
	resp.Diagnostics.Append(resp.State.Set(ctx, &d)...)
}
