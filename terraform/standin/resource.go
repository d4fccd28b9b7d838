package standin

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// helmPrefix begins the IDs of releases: helm:HOST#NAMESPACE/NAME.
const helmPrefix = "helm:"

// standInResource is any resource of any provider: its schema says which.
type standInResource struct {
	schema  resourceSchema
	cloud   Cloud
	account *account
}

func (r *standInResource) Metadata(_ context.Context, _ resource.MetadataRequest, resp *resource.MetadataResponse) {
	resp.TypeName = r.schema.Type
}

func (r *standInResource) Schema(_ context.Context, _ resource.SchemaRequest, resp *resource.SchemaResponse) {
	resp.Schema = r.schema.framework()
}

func (r *standInResource) Configure(_ context.Context, req resource.ConfigureRequest, _ *resource.ConfigureResponse) {
	if a, ok := req.ProviderData.(*account); ok {
		r.account = a
	}
}

func (r *standInResource) ImportState(ctx context.Context, req resource.ImportStateRequest, resp *resource.ImportStateResponse) {
	resource.ImportStatePassthroughID(ctx, path.Root("id"), req, resp)
}

func (r *standInResource) Create(ctx context.Context, req resource.CreateRequest, resp *resource.CreateResponse) {
	f := fabric{account: r.account, schema: r.schema}
	value, id, err := f.fill(req.Plan.Raw)
	if err != nil {
		r.fail(&resp.Diagnostics, "creating", id, err)
		return
	}
	text, err := encode(value)
	if err != nil {
		r.fail(&resp.Diagnostics, "creating", id, err)
		return
	}
	var fault Fault
	var refused error
	err = r.cloud.Change(func(s *State) error {
		fault, _ = s.fault(r.schema.Type)
		if refused = r.refusal(s, fault, r.key(id), text); refused != nil {
			return nil // the creation is counted
		}
		s.Resources = append(s.Resources, Resource{r.schema.Type, r.key(id), text, time.Now().UTC()})
		return nil
	})
	if err == nil {
		err = refused
	}
	if err != nil {
		r.fail(&resp.Diagnostics, "creating", id, err)
		return
	}
	if fault.Kind == Slow {
		// It exists from here on, and whoever stops waiting does not know it:
		// so do Azure's long creations.
		select {
		case <-time.After(time.Duration(fault.Seconds * float64(time.Second))):
		case <-ctx.Done():
			r.fail(&resp.Diagnostics, "creating", id, fmt.Errorf("polling after CreateOrUpdate: %w", ctx.Err()))
			return
		}
	}
	resp.State.Raw = value
}

// refusal says why a creation is refused; nil: it is not.
func (r *standInResource) refusal(s *State, fault Fault, id string, text json.RawMessage) error {
	if s.find(r.schema.Type, id) >= 0 {
		return fmt.Errorf("a resource with the ID %q already exists - to be managed via Terraform this resource needs to be imported into the State. Please see the resource documentation for %q for more information", id, r.schema.Type)
	}
	switch fault.Kind {
	case Quota:
		return fmt.Errorf("unexpected status 409 (409 Conflict) with error: OperationNotAllowed: Operation could not be completed as it results in exceeding approved standardBSFamily Cores quota. Additional details - Deployment Model: Resource Manager, Location: eastus, Current Limit: 4, Current Usage: 4, Additional Required: 4, (Minimum) New Limit Required: 8")
	case Denied:
		return fmt.Errorf("unexpected status 403 (403 Forbidden) with error: AuthorizationFailed: The client 'stand-in' does not have authorization to perform action '%s/write' over scope %q", r.schema.Type, id)
	}
	if r.schema.Type == "helm_release" {
		return s.reach(r.account.host)
	}
	for _, ref := range references(text) {
		if group, _, in := strings.Cut(ref, "/providers/"); !s.exists(ref) && (!in || !s.exists(group) || !strings.EqualFold(ref, id)) {
			return fmt.Errorf("unexpected status 404 (404 Not Found) with error: ResourceNotFound: %s names %s, which is not there", r.schema.Type, ref)
		}
	}
	if group, _, in := strings.Cut(id, "/providers/"); in && strings.HasPrefix(id, "/") && !s.exists(group) {
		return fmt.Errorf("unexpected status 404 (404 Not Found) with error: ResourceGroupNotFound: Resource group %q could not be found", group)
	}
	return nil
}

// key is what the cloud calls a resource.
func (r *standInResource) key(id string) string {
	if r.schema.Type == "helm_release" {
		return helmPrefix + r.account.host + "#" + id
	}
	return id
}

func (r *standInResource) Read(ctx context.Context, req resource.ReadRequest, resp *resource.ReadResponse) {
	id, err := idOf(req.State.Raw)
	if err != nil {
		r.fail(&resp.Diagnostics, "reading", "", err)
		return
	}
	s, err := r.cloud.Load()
	if err != nil {
		r.fail(&resp.Diagnostics, "reading", id, err)
		return
	}
	if r.schema.Type == "helm_release" {
		if err := s.reach(r.account.host); err != nil {
			r.fail(&resp.Diagnostics, "reading", id, err)
			return
		}
	}
	at := s.find(r.schema.Type, r.key(id))
	if at < 0 {
		resp.State.RemoveResource(ctx)
		return
	}
	if resp.State.Raw, err = decode(s.Resources[at].Attributes, r.schema.framework().Type().TerraformType(ctx)); err != nil {
		r.fail(&resp.Diagnostics, "reading", id, err)
	}
}

func (r *standInResource) Update(_ context.Context, req resource.UpdateRequest, resp *resource.UpdateResponse) {
	f := fabric{account: r.account, schema: r.schema}
	value, id, err := f.fill(req.Plan.Raw)
	if err != nil {
		r.fail(&resp.Diagnostics, "updating", id, err)
		return
	}
	text, err := encode(value)
	if err == nil {
		err = r.cloud.Change(func(s *State) error {
			at := s.find(r.schema.Type, r.key(id))
			if at < 0 {
				return errGone
			}
			s.Resources[at].Attributes = text
			return nil
		})
	}
	if err != nil {
		r.fail(&resp.Diagnostics, "updating", id, err)
		return
	}
	resp.State.Raw = value
}

// ModifyPlan does what the real provider of releases does while it plans: with
// upgrade_install it asks the cluster, which may not be there yet.
// https://github.com/hashicorp/terraform-provider-helm/issues/1495
func (r *standInResource) ModifyPlan(ctx context.Context, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) {
	if r.schema.Type != "helm_release" || req.Plan.Raw.IsNull() {
		return
	}
	var asks types.Bool
	resp.Diagnostics.Append(req.Plan.GetAttribute(ctx, path.Root("upgrade_install"), &asks)...)
	if !asks.ValueBool() {
		return
	}
	s, err := r.cloud.Load()
	if err == nil {
		err = s.reach(r.account.host)
	}
	if err != nil {
		r.fail(&resp.Diagnostics, "planning", "", err)
	}
}

func (r *standInResource) Delete(_ context.Context, req resource.DeleteRequest, resp *resource.DeleteResponse) {
	id, err := idOf(req.State.Raw)
	if err == nil {
		err = r.cloud.Change(func(s *State) error {
			if r.schema.Type == "helm_release" {
				if err := s.reach(r.account.host); err != nil {
					return err
				}
			}
			return s.remove(r.schema.Type, r.key(id))
		})
	}
	if err != nil {
		r.fail(&resp.Diagnostics, "deleting", id, err)
	}
}

func (r *standInResource) fail(d *diag.Diagnostics, doing, id string, err error) {
	d.AddError(fmt.Sprintf("%s %s (stand-in) %s: %v", doing, r.schema.Type, id, err), "")
}

// idOf reads a resource's ID.
func idOf(v tftypes.Value) (string, error) {
	var fields map[string]tftypes.Value
	if err := v.As(&fields); err != nil {
		return "", err
	}
	var id string
	return id, fields["id"].As(&id)
}
