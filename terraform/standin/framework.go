package standin

import (
	"context"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/boolplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/int64planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/listplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/mapplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/setplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringplanmodifier"
	validators "github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

func (r resourceSchema) framework() schema.Schema {
	return schema.Schema{
		MarkdownDescription: "STAND-IN for " + r.Type + "; nothing real is made.",
		Attributes:          attributesOf(r.Attributes),
		Blocks:              blocksOf(r.Blocks),
	}
}

func attributesOf(all []attribute) map[string]schema.Attribute {
	m := map[string]schema.Attribute{}
	for _, a := range all {
		m[a.Name] = a.framework()
	}
	return m
}

func blocksOf(all []block) map[string]schema.Block {
	m := map[string]schema.Block{}
	for _, b := range all {
		m[b.Name] = schema.ListNestedBlock{
			NestedObject: schema.NestedBlockObject{
				Attributes: attributesOf(b.Contents.Attributes),
				Blocks:     blocksOf(b.Contents.Blocks),
			},
			Validators: []validators.List{occurrence{b.Name, b.Least, b.Most}},
		}
	}
	return m
}

// framework gives the attribute the plan modifiers that the real providers'
// attributes have: what is computed keeps its value, and what cannot be changed
// replaces the resource.
func (a attribute) framework() schema.Attribute {
	switch a.Type {
	case "bool":
		return schema.BoolAttribute{Required: a.Required, Optional: a.Optional, Computed: a.Computed, Sensitive: a.Sensitive,
			PlanModifiers: modifiers(a, boolplanmodifier.UseStateForUnknown(), boolplanmodifier.RequiresReplace())}
	case "number":
		return schema.Int64Attribute{Required: a.Required, Optional: a.Optional, Computed: a.Computed, Sensitive: a.Sensitive,
			PlanModifiers: modifiers(a, int64planmodifier.UseStateForUnknown(), int64planmodifier.RequiresReplace())}
	case "list":
		return schema.ListAttribute{ElementType: types.StringType, Required: a.Required, Optional: a.Optional, Computed: a.Computed, Sensitive: a.Sensitive,
			PlanModifiers: modifiers(a, listplanmodifier.UseStateForUnknown(), listplanmodifier.RequiresReplace())}
	case "set":
		return schema.SetAttribute{ElementType: types.StringType, Required: a.Required, Optional: a.Optional, Computed: a.Computed, Sensitive: a.Sensitive,
			PlanModifiers: modifiers(a, setplanmodifier.UseStateForUnknown(), setplanmodifier.RequiresReplace())}
	case "map":
		return schema.MapAttribute{ElementType: types.StringType, Required: a.Required, Optional: a.Optional, Computed: a.Computed, Sensitive: a.Sensitive,
			PlanModifiers: modifiers(a, mapplanmodifier.UseStateForUnknown(), mapplanmodifier.RequiresReplace())}
	case "objects":
		return schema.ListNestedAttribute{Required: a.Required, Optional: a.Optional, Computed: a.Computed, Sensitive: a.Sensitive,
			NestedObject:  schema.NestedAttributeObject{Attributes: attributesOf(a.Fields)},
			PlanModifiers: modifiers(a, listplanmodifier.UseStateForUnknown(), listplanmodifier.RequiresReplace())}
	default:
		return schema.StringAttribute{Required: a.Required, Optional: a.Optional, Computed: a.Computed, Sensitive: a.Sensitive,
			PlanModifiers: modifiers(a, stringplanmodifier.UseStateForUnknown(), stringplanmodifier.RequiresReplace())}
	}
}

func modifiers[M planmodifier.Describer](a attribute, keep, replace M) []M {
	var all []M
	if a.Computed {
		all = append(all, keep)
	}
	if a.New {
		all = append(all, replace)
	}
	return all
}

// occurrence says how often a block may occur.
type occurrence struct {
	name        string
	least, most int
}

func (o occurrence) Description(context.Context) string {
	if o.most == 0 {
		return fmt.Sprintf("at least %d blocks", o.least)
	}
	return fmt.Sprintf("%d to %d blocks", o.least, o.most)
}

func (o occurrence) MarkdownDescription(ctx context.Context) string { return o.Description(ctx) }

func (o occurrence) ValidateList(ctx context.Context, req validators.ListRequest, resp *validators.ListResponse) {
	if req.ConfigValue.IsUnknown() {
		return
	}
	switch n := len(req.ConfigValue.Elements()); {
	case n < o.least:
		resp.Diagnostics.AddAttributeError(req.Path, "Insufficient "+o.name+" blocks", fmt.Sprintf("At least %d %q blocks are required.", o.least, o.name))
	case o.most > 0 && n > o.most:
		resp.Diagnostics.AddAttributeError(req.Path, "Too many "+o.name+" blocks", fmt.Sprintf("No more than %d %q blocks are allowed.", o.most, o.name))
	}
}
