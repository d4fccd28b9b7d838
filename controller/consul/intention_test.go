package consul

import (
	"reflect"
	"slices"
	"testing"

	"github.com/hashicorp/consul/api"

	"meshlab.dev/meshlab/controller/mesh"
)

func TestIntentionsOf(t *testing.T) {
	jwt := &api.IntentionJWTRequirement{Providers: []*api.IntentionJWTProvider{{Name: "okta"}}}
	some := []*api.IntentionPermission{{Action: api.IntentionActionAllow, HTTP: &api.IntentionHTTPPermission{PathPrefix: "/"}}}
	for _, c := range []struct {
		name   string
		source api.SourceIntention
		jwt    *api.IntentionJWTRequirement
		want   string // allow, deny, or nothing
		notes  []string
	}{
		{"allow", api.SourceIntention{Action: "allow", Type: "consul"}, nil, "allow", nil},
		{"deny", api.SourceIntention{Action: "deny"}, nil, "deny", nil},
		{"no action", api.SourceIntention{}, nil, "deny", []string{`action ""`}},
		{"permissions", api.SourceIntention{Permissions: some}, nil, "deny", []string{"permissions"}},
		{"permissions and allow", api.SourceIntention{Action: "allow", Permissions: some}, nil, "deny", []string{"permissions"}},
		{"permissions that only deny", api.SourceIntention{Permissions: []*api.IntentionPermission{{Action: api.IntentionActionDeny}}}, nil, "deny", []string{"permissions"}},
		{"allow with a JWT", api.SourceIntention{Action: "allow"}, jwt, "deny", []string{"JWT"}},
		{"deny with a JWT", api.SourceIntention{Action: "deny"}, jwt, "deny", nil},
		{"allow a peer", api.SourceIntention{Action: "allow", Peer: "p"}, nil, "", []string{"left out"}},
		{"deny a peer", api.SourceIntention{Action: "deny", Peer: "p"}, nil, "", []string{"left out"}},
		{"allow a partition", api.SourceIntention{Action: "allow", Partition: "p"}, nil, "", []string{"left out"}},
		{"deny a namespace", api.SourceIntention{Action: "deny", Namespace: "n"}, nil, "", []string{"left out"}},
		{"the default namespace", api.SourceIntention{Action: "allow", Namespace: "default", Partition: "default"}, nil, "allow", nil},
		{"every namespace", api.SourceIntention{Action: "deny", Namespace: "*"}, nil, "deny", nil},
		{"allow a sameness group", api.SourceIntention{Action: "allow", SamenessGroup: "g"}, nil, "", []string{"not allowed"}},
		{"deny a sameness group", api.SourceIntention{Action: "deny", SamenessGroup: "g"}, nil, "deny", []string{"by its name"}},
		{"allow another type", api.SourceIntention{Action: "allow", Type: "external"}, nil, "", []string{"not allowed"}},
		{"deny another type", api.SourceIntention{Action: "deny", Type: "external"}, nil, "deny", []string{"by its name"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.source.Name, c.source.Precedence = "web", 9
			var n notes
			got := intentionsOf("api", &api.ServiceIntentionsConfigEntry{Sources: []*api.SourceIntention{&c.source, nil}, JWT: c.jwt}, &n)
			var want []mesh.Intention
			if c.want != "" {
				want = []mesh.Intention{{Source: "web", Destination: "api", Allow: c.want == "allow", Precedence: 9}}
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("intentions %+v, want %+v", got, want)
			}
			wantNotes(t, n, c.notes...)
		})
	}
}

func TestIntentionOrder(t *testing.T) {
	want := []mesh.Intention{
		{Source: "a", Destination: "x", Precedence: 9}, {Source: "b", Destination: "x", Precedence: 9}, {Source: "a", Destination: "y", Precedence: 9},
		{Source: "*", Destination: "x", Precedence: 8}, {Source: "a", Destination: "*", Precedence: 6}, {Source: "*", Destination: "*", Precedence: 5},
	}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, compareIntentions)
	if !slices.Equal(got, want) {
		t.Errorf("order %+v\nwant %+v", got, want)
	}
}

func TestDefaultDeny(t *testing.T) {
	self := func(intentions, acls string) map[string]map[string]any {
		return map[string]map[string]any{"DebugConfig": {"DefaultIntentionPolicy": intentions, "ACLResolverSettings": map[string]any{"ACLDefaultPolicy": acls}}}
	}
	for _, c := range []struct {
		intentions, acls string
		deny, broken     bool
	}{
		{"", "allow", false, false}, {"", "deny", true, false}, {"deny", "allow", true, false}, {"allow", "deny", false, false},
		{"", "", false, true}, {"maybe", "allow", false, true},
	} {
		deny, err := defaultDeny(self(c.intentions, c.acls))
		if deny != c.deny || (err != nil) != c.broken {
			t.Errorf("intentions %q, ACLs %q: deny %v, %v; want %v, error %v", c.intentions, c.acls, deny, err, c.deny, c.broken)
		}
	}
	if _, err := defaultDeny(nil); err == nil {
		t.Error("no error without a configuration")
	}
}
