// Package fault breaks parts of a running lab on purpose, and mends them again:
// it finds out what of a lab a fault strikes, keeps what is broken at the
// moment, and ends each fault in time. How a process is killed or a link cut
// is others' business.
package fault
