variable "name" {
  description = "Begins the names of all resources."
  type        = string
}

variable "location" {
  description = "Azure region."
  type        = string
}

variable "resource_group" {
  description = "Name of the group that the cluster is made in."
  type        = string
}

variable "subnet_id" {
  description = "ID of the subnet for the nodes. A NAT gateway must be associated with it."
  type        = string
}

variable "egress_address" {
  description = "Public IPv4 address of that NAT gateway, from which nodes reach the API server."
  type        = string
}

variable "access_cidr" {
  description = "IPv4 CIDR of the caller, who may reach the API server."
  type        = string
}

variable "registry_id" {
  description = "ID of the registry that nodes may pull from."
  type        = string
}

variable "node_size" {
  description = "Size of the nodes."
  type        = string
  default     = "Standard_B2ms"
}

variable "node_count" {
  description = "Number of nodes."
  type        = number
  default     = 2
}

variable "node_disk_gb" {
  description = "Size of a node's disk in GB; 30 at least."
  type        = number
  default     = 32
}

variable "kubernetes_version" {
  description = "Minor version of Kubernetes, as 1.35."
  type        = string
}

variable "consul_chart_version" {
  description = "Version of Consul's Helm chart."
  type        = string
  default     = "1.9.3"
}

variable "tags" {
  description = "Tags of all resources."
  type        = map(string)
}
