package topo

// The structs of this file are a lab file as it is written: the decoder
// reads a document into them, and lab.schema.json is generated from them. A
// json tag without omitempty marks a key that a file must have; the
// jsonschema tags hold what the schema can check by itself.

type fileLab struct {
	Name        text                 `json:"name" jsonschema:"pattern=^[a-z0-9][a-z0-9_-]{0\\,31}$" jsonschema_description:"Name of the lab: up to 32 of a-z, 0-9, _ and -."`
	Description text                 `json:"description,omitempty" jsonschema_description:"What the lab is for, in a sentence or two."`
	Mesh        fileMesh             `json:"mesh,omitempty" jsonschema_description:"Addresses and registry of the service mesh."`
	Switches    text                 `json:"switches,omitempty" jsonschema:"enum=shared,enum=isolated" jsonschema_description:"Where switches run: bridges of one Open vSwitch, or each an Open vSwitch in a network namespace of its own. Default: shared."`
	Nodes       mapping[fileNode]    `json:"nodes" jsonschema:"minProperties=1" jsonschema_description:"Hosts and switches, by name."`
	Links       []fileLink           `json:"links,omitempty" jsonschema_description:"Links between a switch and a host or another switch."`
	Services    mapping[fileService] `json:"services,omitempty" jsonschema_description:"Instances of services, by name."`
	Client      *fileClient          `json:"client,omitempty" jsonschema_description:"The host from which requests and load come."`
	Requests    mapping[fileRequest] `json:"requests,omitempty" jsonschema_description:"Requests that the client can make, by name."`
}

type fileMesh struct {
	VIP      text `json:"vip,omitempty" jsonschema:"format=ipv4" jsonschema_description:"Virtual address of all upstreams. Default: the highest free address of the lab's network."`
	Hairpin  text `json:"hairpin,omitempty" jsonschema:"format=ipv4" jsonschema_description:"Source address of connections from a host to itself. Default: the highest other free address."`
	Registry text `json:"registry,omitempty" jsonschema:"enum=consul" jsonschema_description:"Where services register. Default: consul."`
	Server   text `json:"server,omitempty" jsonschema_description:"Host that runs the Consul server. Default: an automatic host consul-server at the first switch."`
}

type fileNode struct {
	Kind text `json:"kind" jsonschema:"enum=host,enum=switch" jsonschema_description:"host or switch."`
	IPv4 text `json:"ipv4,omitempty" jsonschema:"pattern=^([0-9]{1\\,3}[.]){3}[0-9]{1\\,3}/[0-9]{1\\,2}$" jsonschema_description:"Hosts: address and prefix length, as in 192.168.1.11/24. Default: the lowest free address."`
	MAC  text `json:"mac,omitempty" jsonschema:"pattern=^([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}$" jsonschema_description:"Hosts: MAC address. Default: made from the IPv4 address."`
	DPID word `json:"dpid,omitempty" jsonschema_description:"Switches: OpenFlow datapath id, 16 hexadecimal digits or a decimal integer. Default: the lowest free number."`
}

type fileLink struct {
	Stated stated `json:"-"`

	Endpoints []text   `json:"endpoints" jsonschema:"minItems=2,maxItems=2" jsonschema_description:"Two ends: host:interface or switch:port."`
	MTU       number   `json:"mtu,omitempty" jsonschema:"minimum=576,maximum=9000" jsonschema_description:"Largest packet of the link in bytes. Default: 1500; 1450 in a lab with tunnels."`
	Tunnel    text     `json:"tunnel,omitempty" jsonschema:"enum=vxlan" jsonschema_description:"Carries the link between two isolated switches through a tunnel. Default: a cable."`
	Bandwidth quantity `json:"bandwidth,omitempty" jsonschema:"pattern=^([0-9]+([.][0-9]+)? ?([kKmMgG]?[bB][iI][tT])|unlimited)$" jsonschema_description:"Bits per second of each direction, as in 100Mbit: bit, kbit, Mbit or Gbit. Default: as fast as the machine."`
	Delay     quantity `json:"delay,omitempty" jsonschema_description:"Time that a frame takes, one way, as in 5ms. Default: none."`
	Jitter    quantity `json:"jitter,omitempty" jsonschema_description:"How much shorter or longer the delay may be, at most, as in 1ms. Default: none."`
	Loss      quantity `json:"loss,omitempty" jsonschema:"pattern=^[0-9]{1\\,3}([.][0-9]+)? ?%$" jsonschema_description:"Share of frames that are lost in each direction, as in 1%. Default: none."`
}

type fileService struct {
	Stated stated `json:"-"`

	Service     text            `json:"service,omitempty" jsonschema:"pattern=^[a-z0-9]([a-z0-9-]{0\\,61}[a-z0-9])?$" jsonschema_description:"Service that this is an instance of. Default: the instance's name."`
	Node        text            `json:"node" jsonschema_description:"Host that it runs on."`
	Port        number          `json:"port" jsonschema:"minimum=1,maximum=65535" jsonschema_description:"Port at which it listens."`
	Builtin     text            `json:"builtin,omitempty" jsonschema_description:"Service that is part of meshlab; excludes command and image."`
	Image       text            `json:"image,omitempty" jsonschema_description:"Image of a container, as in nginx:1.27, or the path of an archive that ends in .tar, relative to the lab file. Needs the Docker runtime."`
	Command     []word          `json:"command,omitempty" jsonschema:"minItems=1" jsonschema_description:"Program and arguments; templates are expanded. Excludes builtin; with image, it takes the place of the image's own command."`
	Limits      fileLimits      `json:"limits,omitempty" jsonschema_description:"What it may use at most. Needs the Docker runtime."`
	Environment mapping[word]   `json:"environment,omitempty" jsonschema_description:"Environment variables; templates are expanded."`
	Upstreams   mapping[number] `json:"upstreams,omitempty" jsonschema_description:"Services that it calls, and the port at which the mesh offers each."`
	Meta        mapping[word]   `json:"meta,omitempty" jsonschema_description:"Metadata that it is registered with, as for subsets of a service-resolver."`
	Healthcheck fileHealthcheck `json:"healthcheck,omitempty" jsonschema_description:"How its health is checked. Default: a TCP connection every second."`
	Publish     number          `json:"publish,omitempty" jsonschema:"minimum=0,maximum=65535" jsonschema_description:"Loopback port of the user that is forwarded to it; 0: any free one."`
}

type fileLimits struct {
	CPUs   decimal  `json:"cpus,omitempty" jsonschema:"minimum=0.01,maximum=4096" jsonschema_description:"Processors, as in 0.5. Default: no limit."`
	Memory quantity `json:"memory,omitempty" jsonschema:"pattern=^[0-9]+([.][0-9]+)? ?([KMGT]iB|[kMGT]B)$" jsonschema_description:"Memory, as in 256MiB. Default: no limit."`
}

type fileHealthcheck struct {
	TCP      truth `json:"tcp,omitempty" jsonschema_description:"true: a TCP connection is enough; excludes http. false without http: no check, the service counts as healthy."`
	HTTP     text  `json:"http,omitempty" jsonschema:"pattern=^/" jsonschema_description:"Path of a GET that must be answered with 2xx; excludes tcp."`
	Interval text  `json:"interval,omitempty" jsonschema_description:"Time between two checks, as in 500ms or 1s. Default: 1s."`
}

type fileClient struct {
	Node      text            `json:"node,omitempty" jsonschema_description:"Host of the client. Default: an automatic host client at the first switch."`
	Upstreams mapping[number] `json:"upstreams,omitempty" jsonschema_description:"Services that it calls, and the port at which the mesh offers each."`
}

type fileRequest struct {
	To       text          `json:"to" jsonschema_description:"Service to call: one of the client's upstreams."`
	Protocol text          `json:"protocol,omitempty" jsonschema:"enum=http1,enum=http1-close,enum=http2,enum=grpc,enum=tcp,enum=udp" jsonschema_description:"How it travels: HTTP/1.1 with kept connections, the same with a connection per request, HTTP/2 without TLS, Fortio's ping over gRPC, or an echo over TCP or UDP. Default: http1."`
	Method   text          `json:"method,omitempty" jsonschema:"enum=GET,enum=HEAD,enum=POST,enum=PUT,enum=PATCH,enum=DELETE,enum=OPTIONS" jsonschema_description:"HTTP method. Default: GET."`
	Path     text          `json:"path,omitempty" jsonschema:"pattern=^/" jsonschema_description:"Path, and query if there is one, of HTTP. Default: /."`
	Headers  mapping[word] `json:"headers,omitempty" jsonschema_description:"HTTP headers, or metadata of gRPC."`
	Body     text          `json:"body,omitempty" jsonschema_description:"Body of the request; what an echo sends."`
	Expect   fileExpect    `json:"expect,omitempty" jsonschema_description:"What a good answer is. Of an echo: its body."`
}

type fileExpect struct {
	Status   number `json:"status,omitempty" jsonschema:"minimum=200,maximum=599" jsonschema_description:"HTTP status. Default: 200."`
	Contains []word `json:"contains,omitempty" jsonschema_description:"Texts that the body must hold, all of them."`
	Matches  text   `json:"matches,omitempty" jsonschema_description:"Regular expression (RE2) that the body must match."`
}
