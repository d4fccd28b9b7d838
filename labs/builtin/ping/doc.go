// Package ping holds the services that give back what they get, over gRPC, TCP
// and UDP: what a mesh costs when it is not HTTP that it carries. Their clients
// are those of Fortio, and of meshlab's own load.
package ping
