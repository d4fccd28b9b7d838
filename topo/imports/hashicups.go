package imports

import (
	"path"
	"strings"
)

// The builtin services that stand for programs of HashiCups.
const (
	frontend   = "hashicups/frontend"
	publicAPI  = "hashicups/public-api"
	productAPI = "hashicups/product-api"
	payments   = "hashicups/payments"
	productDB  = "hashicups/product-db"
	echo       = "echo"
)

// need is a service that a builtin calls, and the variable that says where.
type need struct {
	builtin  string
	variable string
	value    string // with %s for the template of the upstream
}

// part is what is known of a builtin of HashiCups.
type part struct {
	service  string // its usual name
	port     int    // of the thesis' laboratory, when the source says none
	bindPort int    // where callers of that laboratory find it
	needs    []need
}

// parts are the five services of HashiCups. The ports are those of the
// thesis' laboratory (its Consul service definitions), the variables those of
// meshlab's builtins.
var parts = map[string]part{
	frontend: {"frontend", 17564, 9190, []need{
		{publicAPI, "PUBLIC_API_URI", "http://%s"},
	}},
	publicAPI: {"public-api", 20863, 9191, []need{
		{productAPI, "PRODUCT_API_URI", "http://%s"},
		{payments, "PAYMENT_API_URI", "http://%s"},
	}},
	productAPI: {"product-api", 19572, 9341, []need{
		{productDB, "DB_CONNECTION", "postgres://postgres:password@%s/products?sslmode=disable"},
	}},
	payments:  {"payments", 13427, 9340, nil},
	productDB: {"product-db", 5432, 9567, nil},
}

// image is what is known of a container image.
type image struct {
	builtins []string
	consul   bool // a Consul agent or server
	postgres bool
	sw       bool // Open vSwitch is in it
	host     bool // of the thesis' laboratory: what runs has names of its own
	port     int  // at which its program listens; 0: not known
}

// wellKnown are the ports at which the programs of common images listen (the
// pages of the images on hub.docker.com).
var wellKnown = map[string]int{
	"nginx": 80, "httpd": 80, "caddy": 80, "traefik": 80, "redis": 6379, "memcached": 11211,
	"mysql": 3306, "mariadb": 3306, "mongo": 27017, "rabbitmq": 5672,
}

// knownImage tells what an image has in it that meshlab has too. Names are
// compared without registry and tag: hashicorpdemoapp's images of HashiCups
// (hub.docker.com/u/hashicorpdemoapp), and those of the thesis' laboratory,
// each of which has the services of one host.
func knownImage(ref string) image {
	ref, _, _ = strings.Cut(ref, "@")
	if i := strings.LastIndexByte(ref, ':'); i > strings.LastIndexByte(ref, '/') {
		ref = ref[:i]
	}
	base, org := path.Base(ref), path.Base(path.Dir(ref))
	if org == "hashicorpdemoapp" {
		switch base {
		case "frontend":
			return image{builtins: []string{frontend}}
		case "public-api":
			return image{builtins: []string{publicAPI}}
		case "product-api":
			return image{builtins: []string{productAPI}}
		case "product-api-db":
			return image{builtins: []string{productDB}}
		case "payments":
			return image{builtins: []string{payments}}
		}
	}
	switch base {
	case "service-mesh-h1":
		return image{builtins: []string{frontend, publicAPI}, host: true}
	case "service-mesh-h2":
		return image{builtins: []string{productAPI}, host: true}
	case "service-mesh-h3":
		return image{builtins: []string{payments}, host: true}
	case "service-mesh-db1":
		return image{builtins: []string{productDB}, host: true}
	case "consul", "service-mesh-consul":
		return image{consul: true}
	case "postgres":
		return image{postgres: true, port: 5432}
	}
	if p := wellKnown[base]; p != 0 {
		return image{port: p}
	}
	for _, part := range strings.FieldsFunc(base, func(r rune) bool { return r == '-' || r == '_' || r == '.' }) {
		switch part {
		case "sdn", "ovs", "openvswitch":
			return image{sw: true}
		}
	}
	return image{}
}

// knownProgram tells which builtin a command of a startup file starts, ""
// when it is none. Payments is a Java archive, the others are programs.
func knownProgram(words []string) (builtin string, postgres bool) {
	switch path.Base(words[0]) {
	case "public-api":
		return publicAPI, false
	case "product-api":
		return productAPI, false
	case "payments":
		return payments, false
	case "frontend":
		return frontend, false
	case "postgres", "pg_ctl", "pg_ctlcluster", "postmaster":
		return "", true
	case "java":
		for _, w := range words[1:] {
			if strings.HasSuffix(w, ".jar") && strings.Contains(path.Base(w), "payments") {
				return payments, false
			}
		}
	}
	return "", false
}
