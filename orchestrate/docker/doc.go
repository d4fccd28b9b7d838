// Package docker does all that a lab has to do with a Docker engine: it finds
// the engine of this machine, builds the image that holds meshlab itself,
// loads and pulls the images of services, runs the containers of a lab, and
// removes them again. It knows nothing of links, switches or services.
//
// Each host of a lab is a host container without any network of Docker's. Its
// first process hands its network namespace over to the lab (HostMain, Accept)
// and ends when the lab does. Each process of a host is a process container
// that shares the network and the process namespace of the host container: when
// that ends, the kernel ends the processes too (pid_namespaces(7)).
//
// All that is made carries labels, by which Leftovers and Remove find it
// whatever became of the lab that made it.
package docker

// Labels of containers and images.
const (
	labelLab     = "dev.meshlab.lab"        // name of the lab
	labelState   = "dev.meshlab.state"      // its state folder: tells labs of one name apart
	labelRole    = "dev.meshlab.role"       // one of the roles below
	labelNode    = "dev.meshlab.node"       // host that the container is, or belongs to
	labelProcess = "dev.meshlab.process"    // what runs in a process container
	labelVersion = "dev.meshlab.created-by" // version of meshlab
)

// Roles: values of the label dev.meshlab.role.
const (
	roleHost    = "host"
	roleProcess = "process"
	roleImage   = "image"
)

// Program is the path of meshlab inside the image that EnsureImage builds.
const Program = "/meshlab"

// HostVerb is the hidden verb of meshlab that a host container runs; it calls
// HostMain.
const HostVerb = "host-container"
