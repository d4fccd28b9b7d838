package flow

import (
	"errors"
	"fmt"
)

// MaxMeterID is the last meter id in use by flows (OpenFlow 1.3.5, section
// 7.3.4.4, OFPM_MAX). A switch may have fewer.
const MaxMeterID uint32 = 0xffff0000

// String is the meter as "ovs-ofctl -O OpenFlow13 add-meter" takes it.
func (m Meter) String() string {
	return fmt.Sprintf("meter=%d pktps burst bands=type=drop rate=%d burst_size=%d", m.ID, m.Rate, m.Burst)
}

// CheckMeter tells what a switch would refuse in the meter, or read
// differently: to Open vSwitch, a burst of 0 is a burst of Rate packets.
func CheckMeter(m Meter) error {
	var errs []error
	if m.ID == 0 || m.ID > MaxMeterID {
		errs = append(errs, fmt.Errorf("id is not within 1 to %#x", MaxMeterID))
	}
	if m.Rate == 0 {
		errs = append(errs, errors.New("a rate of 0 would stop all packets: leave them out by a flow"))
	}
	if m.Burst == 0 {
		errs = append(errs, errors.New("a burst of 0 would let no packet pass: allow at least 1"))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("check meter %d: %w", m.ID, err)
	}
	return nil
}
