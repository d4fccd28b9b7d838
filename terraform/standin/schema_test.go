package standin

import (
	"strings"
	"testing"
)

func TestParseSchemas(t *testing.T) {
	const good = "# a comment\nresource x_y\n\tid {group}/y/{name}\n\tname string required new\n\tobjects made computed\n\t\thost string computed\n\tblock part 1-*\n\t\tsize number optional\n\t\tblock inner 0-1\n\t\t\tkey string required\n"
	for name, tc := range map[string]struct{ old, new, want string }{
		"as it is":           {"", "", ""},
		"no resource":        {"resource x_y", "x_y", "line 2: want resource TYPE"},
		"no ID":              {"\tid {group}/y/{name}\n", "", "line 2: resource x_y has no ID"},
		"unknown type":       {"name string", "name text", "line 4: attribute name: unknown type text"},
		"unknown flag":       {"required new", "required now", "line 4: attribute name: unknown flag now"},
		"neither nor":        {"required new", "new", "line 4: attribute name: want required, or optional or computed"},
		"both":               {"required new", "required optional", "line 4: attribute name: want required, or optional or computed"},
		"no flags":           {"name string required new", "name string", "line 4: want NAME TYPE FLAGS"},
		"how often":          {"1-*", "many", "line 7: block part: want how often"},
		"indented too far":   {"\t\tblock inner", "\t\t\t\tblock inner", "line 9: it is indented too far"},
		"nothing below head": {"\n\tid {group}", "\n\tname", "has no ID"},
	} {
		t.Run(name, func(t *testing.T) {
			all, err := parseSchemas(strings.Replace(good, tc.old, tc.new, 1))
			if tc.want != "" {
				if err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("got %v, want %s", err, tc.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			r := all[0]
			if len(all) != 1 || r.Type != "x_y" || len(r.Attributes) != 3 || r.Attributes[1].Fields[0].Name != "host" || r.Blocks[0].Least != 1 || r.Blocks[0].Most != 0 || r.Blocks[0].Contents.Blocks[0].Most != 1 {
				t.Errorf("got %+v", all)
			}
		})
	}
}

// The schemas of both providers are read, and an unknown one is told.
func TestSchemas(t *testing.T) {
	for provider, least := range map[string]int{"azurerm": 18, "helm": 1} {
		all, err := schemasOf(provider)
		if err != nil || len(all) < least {
			t.Errorf("%s: %d resources, %v", provider, len(all), err)
		}
	}
	if _, err := schemasOf("aws"); err == nil || !strings.Contains(err.Error(), "no stand-in for provider aws") {
		t.Errorf("an unknown provider: %v", err)
	}
}
