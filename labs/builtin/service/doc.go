// Package service holds what every built-in service shares: settings read from
// the environment, an HTTP server that ends with its context, and an HTTP
// client for upstreams that keeps its connections. It knows no service by name.
package service
