package flow

import "fmt"

// RemovedReason tells why a flow went that had Notify.
type RemovedReason uint8

// The reasons (OpenFlow 1.3.5, section 7.4.2, enum ofp_flow_removed_reason).
const (
	RemovedIdle   RemovedReason = 0 // no packet for the time of its idle timeout
	RemovedHard   RemovedReason = 1
	RemovedDelete RemovedReason = 2 // a controller deleted it
	RemovedGroup  RemovedReason = 3 // a group that it used was deleted
)

// String is the reason as ovs-ofctl prints it.
func (r RemovedReason) String() string {
	switch r {
	case RemovedIdle:
		return "idle"
	case RemovedHard:
		return "hard"
	case RemovedDelete:
		return "delete"
	case RemovedGroup:
		return "group_delete"
	default:
		return fmt.Sprintf("RemovedReason(%d)", uint8(r))
	}
}
