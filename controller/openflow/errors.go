package openflow

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrClosed is what requests return once the connection has ended without a
// fault, by Close.
var ErrClosed = errors.New("connection is closed")

// SwitchError is an error message of the switch.
type SwitchError struct {
	Type uint16 // enum ofp_error_type, or 0xffff with Experimenter set
	Code uint16 // within Type; for an experimenter its own type
	// Experimenter is the vendor whose codes these are, 0 for OpenFlow itself.
	Experimenter uint32
	Text         string // what type and code mean

	xid uint32
}

// Error tells the meaning, and the numbers for a search.
func (e *SwitchError) Error() string {
	if e.Experimenter != 0 {
		return fmt.Sprintf("switch answers %s (experimenter %#x code %d)", e.Text, e.Experimenter, e.Code)
	}
	return fmt.Sprintf("switch answers %s (type %d code %d)", e.Text, e.Type, e.Code)
}

// ApplyError tells which part of a Change the switch refused. Nothing of the
// change was applied.
type ApplyError struct {
	What  string // the part, such as "add flow"
	Index int    // within the Change's list of that kind; -1 for the bundle as a whole
	Text  string // the flow or group as ovs-ofctl prints it
	Cause *SwitchError
}

// Error names the part and the switch's reason.
func (e *ApplyError) Error() string {
	if e.Index < 0 {
		return fmt.Sprintf("%s: %v; nothing was applied", e.What, e.Cause)
	}
	return fmt.Sprintf("%s %d (%s): %v; nothing was applied", e.What, e.Index, e.Text, e.Cause)
}

// Unwrap gives the SwitchError.
func (e *ApplyError) Unwrap() error { return e.Cause }

// Vendors whose errors Open vSwitch sends in OpenFlow 1.3.
const (
	experimenterONF    uint32 = 0x4f4e4600
	experimenterNicira uint32 = 0x00002320
	errorExperimenter  uint16 = 0xffff
)

// decodeError reads ofp_error_msg or ofp_error_experimenter_msg (OpenFlow
// 1.3.5, section 7.4.4); xid is that of the failed request.
func decodeError(xid uint32, body []byte) (*SwitchError, error) {
	if len(body) < 4 {
		return nil, fmt.Errorf("decode error message: %d of 4 bytes: %w", len(body), errShort)
	}
	e := &SwitchError{Type: binary.BigEndian.Uint16(body), Code: binary.BigEndian.Uint16(body[2:]), xid: xid}
	if e.Type == errorExperimenter {
		if len(body) < 8 {
			return nil, fmt.Errorf("decode experimenter error message: %d of 8 bytes: %w", len(body), errShort)
		}
		e.Experimenter = binary.BigEndian.Uint32(body[4:])
	}
	e.Text = errorText(e)
	return e, nil
}

// errorText names what a mesh can run into; the names are those of the
// OpenFlow specification, those of Nicira of ovs-ofctl's own output.
func errorText(e *SwitchError) string {
	if e.Experimenter == experimenterONF {
		if text := bundleErrorText(e.Code); text != "" {
			return "BUNDLE_" + text
		}
		return "an unknown ONF error"
	}
	if e.Experimenter != 0 {
		return "an extension error"
	}
	var group string
	var codes []string
	switch e.Type {
	case 0:
		group, codes = "HELLO_FAILED", []string{"INCOMPATIBLE", "EPERM"}
	case 1:
		group, codes = "BAD_REQUEST", []string{"BAD_VERSION", "BAD_TYPE", "BAD_MULTIPART", "BAD_EXPERIMENTER", "BAD_EXP_TYPE",
			"EPERM", "BAD_LEN", "BUFFER_EMPTY", "BUFFER_UNKNOWN", "BAD_TABLE_ID", "IS_SLAVE", "BAD_PORT", "BAD_PACKET", "MULTIPART_BUFFER_OVERFLOW"}
	case 2:
		group, codes = "BAD_ACTION", []string{"BAD_TYPE", "BAD_LEN", "BAD_EXPERIMENTER", "BAD_EXP_TYPE", "BAD_OUT_PORT",
			"BAD_ARGUMENT", "EPERM", "TOO_MANY", "BAD_QUEUE", "BAD_OUT_GROUP", "MATCH_INCONSISTENT", "UNSUPPORTED_ORDER",
			"BAD_TAG", "BAD_SET_TYPE", "BAD_SET_LEN", "BAD_SET_ARGUMENT"}
	case 3:
		group, codes = "BAD_INSTRUCTION", []string{"UNKNOWN_INST", "UNSUP_INST", "BAD_TABLE_ID", "UNSUP_METADATA",
			"UNSUP_METADATA_MASK", "BAD_EXPERIMENTER", "BAD_EXP_TYPE", "BAD_LEN", "EPERM"}
	case 4:
		group, codes = "BAD_MATCH", []string{"BAD_TYPE", "BAD_LEN", "BAD_TAG", "BAD_DL_ADDR_MASK", "BAD_NW_ADDR_MASK",
			"BAD_WILDCARDS", "BAD_FIELD", "BAD_VALUE", "BAD_MASK", "BAD_PREREQ", "DUP_FIELD", "EPERM"}
	case 5:
		group, codes = "FLOW_MOD_FAILED", []string{"UNKNOWN", "TABLE_FULL", "BAD_TABLE_ID", "OVERLAP", "EPERM", "BAD_TIMEOUT", "BAD_COMMAND", "BAD_FLAGS"}
	case 6:
		group, codes = "GROUP_MOD_FAILED", []string{"GROUP_EXISTS", "INVALID_GROUP", "WEIGHT_UNSUPPORTED", "OUT_OF_GROUPS",
			"OUT_OF_BUCKETS", "CHAINING_UNSUPPORTED", "WATCH_UNSUPPORTED", "LOOP", "UNKNOWN_GROUP", "CHAINED_GROUP",
			"BAD_TYPE", "BAD_COMMAND", "BAD_BUCKET", "BAD_WATCH", "EPERM"}
	default:
		return "an unknown error"
	}
	if int(e.Code) < len(codes) {
		return group + "/" + codes[e.Code]
	}
	return group + "/unknown code"
}

// bundleErrorText names the codes of the ONF bundle extension (extension
// 230, whose numbers start at 2300).
func bundleErrorText(code uint16) string {
	codes := []string{"UNKNOWN", "EPERM", "BAD_ID", "EXIST", "CLOSED", "OUT_OF_BUNDLES", "BAD_TYPE", "BAD_FLAGS",
		"MSG_BAD_LEN", "MSG_BAD_XID", "MSG_UNSUP", "MSG_CONFLICT", "MSG_TOO_MANY", "MSG_FAILED", "TIMEOUT", "IN_PROGRESS"}
	if i := int(code) - 2300; i >= 0 && i < len(codes) {
		return codes[i]
	}
	return ""
}
