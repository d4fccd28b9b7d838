// Package tuntest is a tun device that every user may open, for tests with an
// ordinary user. Where udev runs the machine's own is (rule 50-udev-default);
// where it does not, as in many images for CI, root alone may open it.
package tuntest

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

const device = "/dev/net/tun"

// Share puts a device of our own over the machine's, in the mount namespace of
// the caller's thread, which must not be the machine's. After an error the
// machine's own is there.
func Share() error {
	if err := unix.Mount("tun", "/dev/net", "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mount over /dev/net: %w", err)
	}
	err := unix.Mknod(device, unix.S_IFCHR|0o666, int(unix.Mkdev(10, 200))) // Documentation/networking/tuntap.rst
	if err == nil {
		err = os.Chmod(device, 0o666) // whatever the umask
	}
	if err == nil {
		var f *os.File
		if f, err = os.OpenFile(device, os.O_RDWR, 0); err == nil {
			return f.Close()
		}
	}
	return errors.Join(fmt.Errorf("make %s: %w", device, err), unix.Unmount("/dev/net", unix.MNT_DETACH))
}
