package kubetest

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
)

// auditPolicy has the API server write down what service accounts ask for:
// watches when they begin, all else when it has been answered.
const auditPolicy = `
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- { level: Metadata, userGroups: ["system:serviceaccounts"] }
- { level: None }
`

// Request is what a service account has asked the API server for.
type Request struct {
	Verb, Resource, Namespace, Name string // Resource with its part: pods/status
	Code                            int    // HTTP status of the answer
}

// Requests returns what a user has asked for since the API server was first
// started, in that order, by the API server's own account. A watch counts
// when it begins.
func (s *Server) Requests(user string) []Request {
	s.t.Helper()
	f, err := os.Open(filepath.Join(s.dir, "audit.log"))
	if err != nil {
		s.t.Fatalf("read what was asked for: %v", err)
	}
	defer f.Close()
	var all []Request
	for lines := json.NewDecoder(bufio.NewReader(f)); lines.More(); {
		var e struct {
			Stage, Verb string
			User        struct{ Username string }
			ObjectRef   struct{ Resource, Subresource, Namespace, Name string }
			Status      struct{ Code int } `json:"responseStatus"`
		}
		if err := lines.Decode(&e); err != nil {
			break // the line is being written
		}
		if e.User.Username != user || e.Verb == "watch" && e.Stage != "ResponseStarted" {
			continue
		}
		r := Request{Verb: e.Verb, Resource: e.ObjectRef.Resource, Namespace: e.ObjectRef.Namespace, Name: e.ObjectRef.Name, Code: e.Status.Code}
		if e.ObjectRef.Subresource != "" {
			r.Resource += "/" + e.ObjectRef.Subresource
		}
		all = append(all, r)
	}
	return all
}
