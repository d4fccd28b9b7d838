package standin

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math/big"
	"strings"

	"github.com/google/uuid"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// fabric makes up what a cloud would answer: values of computed attributes.
type fabric struct {
	account *account
	schema  resourceSchema
}

// fill returns the resource with values for all that is unknown, and its ID.
func (f fabric) fill(plan tftypes.Value) (tftypes.Value, string, error) {
	id, err := f.id(plan)
	if err != nil {
		return plan, "", err
	}
	filled, err := tftypes.Transform(plan, func(at *tftypes.AttributePath, v tftypes.Value) (tftypes.Value, error) {
		if v.IsKnown() {
			return v, nil
		}
		name := ""
		for _, step := range at.Steps() {
			if n, ok := step.(tftypes.AttributeName); ok {
				name = string(n)
			}
		}
		return f.make(v.Type(), name, id)
	})
	return filled, id, err
}

// make is a value of that type for an attribute of that name.
func (f fabric) make(t tftypes.Type, name, id string) (tftypes.Value, error) {
	switch t := t.(type) {
	case tftypes.List:
		object, ok := t.ElementType.(tftypes.Object)
		if !ok {
			return tftypes.NewValue(t, []tftypes.Value{}), nil
		}
		fields := map[string]tftypes.Value{}
		for n, ft := range object.AttributeTypes {
			v, err := f.make(ft, n, id)
			if err != nil {
				return v, err
			}
			fields[n] = v
		}
		return tftypes.NewValue(t, []tftypes.Value{tftypes.NewValue(object, fields)}), nil
	case tftypes.Set:
		return tftypes.NewValue(t, []tftypes.Value{}), nil
	case tftypes.Map:
		return tftypes.NewValue(t, map[string]tftypes.Value{}), nil
	}
	switch {
	case t.Is(tftypes.String):
		return tftypes.NewValue(t, f.text(name, id)), nil
	case t.Is(tftypes.Number):
		return tftypes.NewValue(t, big.NewFloat(0)), nil
	case t.Is(tftypes.Bool):
		return tftypes.NewValue(t, false), nil
	}
	return tftypes.Value{}, fmt.Errorf("attribute %s: no value for type %s", name, t)
}

func (f fabric) text(name, id string) string {
	last := id[strings.LastIndex(id, "/")+1:]
	switch name {
	case "id":
		return id
	case "principal_id", "client_id", "object_id", "tenant_id", "resource_guid", "guid", "unique_id", "virtual_machine_id":
		return uuid.NewSHA1(uuid.NameSpaceURL, []byte(name+id)).String()
	case "login_server":
		return last + ".azurecr.io"
	case "ip_address", "public_ip_address":
		return addressOf(id)
	case "private_ip_address":
		return "10.42.2.10"
	case "host":
		return hostOf(id)
	case "client_certificate", "client_key", "cluster_ca_certificate":
		return base64.StdEncoding.EncodeToString([]byte("stand-in"))
	case "kube_config_raw":
		return fmt.Sprintf("apiVersion: v1\nkind: Config\n# a stand-in: there is no such cluster\nclusters:\n- name: %s\n  cluster:\n    server: %s\n", last, hostOf(id))
	case "status":
		return "deployed"
	}
	return "stand-in"
}

// addressOf is an address for documentation (RFC 5737), the same for the same ID.
func addressOf(id string) string {
	h := fnv.New32a()
	h.Write([]byte(id))
	return fmt.Sprintf("203.0.113.%d", 1+h.Sum32()%254)
}

// hostOf is the API server of a cluster.
func hostOf(id string) string {
	return "https://" + strings.ToLower(id[strings.LastIndex(id, "/")+1:]) + ".stand-in.invalid:443"
}

// id is a resource's ID: the one that it has, or what its template makes.
func (f fabric) id(plan tftypes.Value) (string, error) {
	var fields map[string]tftypes.Value
	if err := plan.As(&fields); err != nil {
		return "", err
	}
	text := func(name string) string {
		var s string
		if v, ok := fields[name]; ok && v.IsKnown() && !v.IsNull() && v.As(&s) == nil {
			return s
		}
		return ""
	}
	if id := text("id"); id != "" {
		return id, nil
	}
	id := f.schema.ID
	id = strings.ReplaceAll(id, "{group}", "/subscriptions/{subscription}/resourceGroups/{resource_group_name}")
	id = strings.ReplaceAll(id, "{subscription}", f.account.subscription)
	id = strings.ReplaceAll(id, "{uuid}", uuid.NewString())
	for name := range fields {
		if marker := "{" + name + "}"; strings.Contains(id, marker) {
			value := text(name)
			if value == "" {
				return "", fmt.Errorf("attribute %s is empty", name)
			}
			id = strings.ReplaceAll(id, marker, value)
		}
	}
	return id, nil
}

// encode is a value as JSON; null attributes are left out.
func encode(v tftypes.Value) (json.RawMessage, error) {
	plain, err := plainOf(v)
	if err != nil {
		return nil, err
	}
	return json.Marshal(plain)
}

func plainOf(v tftypes.Value) (any, error) {
	if v.IsNull() {
		return nil, nil
	}
	switch t := v.Type(); {
	case t.Is(tftypes.String):
		var s string
		err := v.As(&s)
		return s, err
	case t.Is(tftypes.Bool):
		var b bool
		err := v.As(&b)
		return b, err
	case t.Is(tftypes.Number):
		n := big.NewFloat(0)
		err := v.As(&n)
		f, _ := n.Float64()
		return f, err
	case t.Is(tftypes.Object{}), t.Is(tftypes.Map{}):
		var fields map[string]tftypes.Value
		if err := v.As(&fields); err != nil {
			return nil, err
		}
		m := map[string]any{}
		for k, e := range fields {
			p, err := plainOf(e)
			if err != nil {
				return nil, err
			}
			m[k] = p
		}
		return m, nil
	default:
		var elements []tftypes.Value
		if err := v.As(&elements); err != nil {
			return nil, err
		}
		l := []any{}
		for _, e := range elements {
			p, err := plainOf(e)
			if err != nil {
				return nil, err
			}
			l = append(l, p)
		}
		return l, nil
	}
}

// decode is encode's inverse.
func decode(text json.RawMessage, t tftypes.Type) (tftypes.Value, error) {
	//lint:ignore SA1019 nothing else that is exported reads JSON of a known type
	return tftypes.ValueFromJSON(text, t)
}
