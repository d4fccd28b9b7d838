package productdb

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// identity says under which user id Postgres' programs run. They refuse an id
// that has no name in the user database, which is what an id inside a user
// namespace often is; then they get a user namespace of their own, in which this
// process's id appears as that of a user with a name. To the rest of the machine
// they stay who this process is.
type identity struct {
	mapped   bool
	uid, gid int // as the programs see themselves; only when mapped
}

// identify decides for this process.
func identify() (identity, error) {
	if _, err := user.LookupId(strconv.Itoa(os.Geteuid())); err == nil {
		return identity{}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.Atoi(u.Uid)
		if err != nil {
			continue
		}
		gid, err := strconv.Atoi(u.Gid)
		if err != nil {
			continue
		}
		return identity{mapped: true, uid: uid, gid: gid}, nil
	}
	return identity{}, fmt.Errorf("find a user for Postgres: user id %d has no name, and there is neither a user postgres nor nobody: run it under a user id with a name", os.Geteuid())
}

// attributes returns how a program is started with this identity.
func (id identity) attributes() *syscall.SysProcAttr {
	if !id.mapped {
		return &syscall.SysProcAttr{}
	}
	return &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: id.uid, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: id.gid, HostID: os.Getegid(), Size: 1}},
	}
}
