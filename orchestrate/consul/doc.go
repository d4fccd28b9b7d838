// Package consul provides a lab with real Consul: it finds or builds the
// program, plans one agent per host, registers the lab's services with their
// host's agent and waits until the catalog calls them healthy.
//
// It starts no process (package process does, from the values made here) and
// does not turn the catalog into switch rules (controller/consul reads it for
// that).
package consul
