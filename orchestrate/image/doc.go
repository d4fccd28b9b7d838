// Package image makes the image that a cluster runs as mesh agent, as the
// services of labs and as load: this program, the libraries that it is linked
// to, and Postgres, all from this machine. It makes it without Docker, and pushes
// it to a registry or saves it as a file. The same files make the same digest.
//
// What containers of a lab on this machine's own engine run is made elsewhere
// (package docker): they mount the machine's programs, which a cluster's nodes
// do not have.
package image

import "strconv"

// Program is the path of meshlab in the image, and what containers run with the
// arguments of theirs.
const Program = "/meshlab"

// PostgresUID is the user that Postgres runs as, who has a name in the image:
// it refuses to run as root, and as who has none. 999 is what the official
// image postgres has on Debian.
const PostgresUID = 999

// passwd and group name the users of the image (passwd(5), group(5)).
var (
	passwd = "root:x:0:0:root:/root:/meshlab\n" +
		"postgres:x:" + strconv.Itoa(PostgresUID) + ":" + strconv.Itoa(PostgresUID) + ":postgres:/tmp:/meshlab\n" +
		"nobody:x:65534:65534:nobody:/tmp:/meshlab\n"
	group = "root:x:0:\npostgres:x:" + strconv.Itoa(PostgresUID) + ":\nnogroup:x:65534:\n"
)

// folders are those of the image that programs expect, with their modes. The
// container's engine adds /dev, /proc and /sys.
var folders = map[string]int64{
	"/etc": 0o755, "/home": 0o755, "/root": 0o700, "/run": 0o755, "/tmp": 0o1777,
	"/var": 0o755, "/var/tmp": 0o1777,
}
