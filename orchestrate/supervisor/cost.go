package supervisor

import (
	"context"
	"encoding/json"
	"net/http"

	"meshlab.dev/meshlab/scenarios"
)

// Cost tells what each part of the lab has used since the lab began to come
// up, in the order of process.Parts; the difference of two readings is what
// something cost. Parts that the mesh does not have are missing. What the
// numbers are made of, process.Usage says; above all, what the kernel does in
// softirqs is not in them, so the switching of a kernel datapath is not. Nor
// are the load generator and the supervisor, which belong to no part. Of pages
// that processes share, each has its share in the memory, so labs side by side,
// which run the same programs, each show less than one alone.
//
// Reading the memory takes some milliseconds for each process, on the lab's
// own machine: before or after a trial, not during one.
func (c *Client) Cost(ctx context.Context) ([]scenarios.Cost, error) {
	var all []scenarios.Cost
	err := c.json(ctx, http.MethodGet, "/cost", nil, &all)
	return all, err
}

func (s *Supervisor) serveCost(w http.ResponseWriter, r *http.Request) {
	procs, err := s.running()
	if err != nil {
		fail(w, http.StatusServiceUnavailable, err)
		return
	}
	used, err := procs.Usage(r.Context())
	if err != nil {
		fail(w, http.StatusInternalServerError, err)
		return
	}
	all := make([]scenarios.Cost, len(used))
	for i, u := range used {
		all[i] = scenarios.Cost{Part: string(u.Part), CPUSeconds: u.CPU.Seconds(), MemoryBytes: u.Memory}
		if u.Resident { // a kernel without CONFIG_PROC_PAGE_MONITOR
			s.log.Warn("memory is the resident set size: the kernel does not tell the proportional one", "part", u.Part)
		}
	}
	_ = json.NewEncoder(w).Encode(all)
}
