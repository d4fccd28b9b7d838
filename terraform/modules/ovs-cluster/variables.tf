variable "name" {
  description = "Begins the names of all resources."
  type        = string
}

variable "location" {
  description = "Azure region."
  type        = string
}

variable "resource_group" {
  description = "Name of the group that the machines are made in."
  type        = string
}

variable "subnet_id" {
  description = "ID of the machines' subnet."
  type        = string
}

variable "control_plane_ip" {
  description = "IPv4 address of the control plane in that subnet."
  type        = string
}

variable "public_address" {
  description = "Whether the control plane has a public address. Who may reach it is the subnet's security group's business."
  type        = bool
}

variable "registry_id" {
  description = "ID of the registry that nodes may pull from."
  type        = string
}

variable "registry_server" {
  description = "Host name of that registry."
  type        = string
}

variable "node_size" {
  description = "Size of the nodes that carry pods."
  type        = string
  default     = "Standard_B2ms"
}

variable "node_count" {
  description = "Number of nodes that carry pods."
  type        = number
  default     = 2
}

variable "control_plane_size" {
  description = "Size of the control plane's machine: 2 processors and 2 GiB at least."
  type        = string
  default     = "Standard_B2s"
}

variable "kubernetes_version" {
  description = "Minor version of Kubernetes, as 1.35."
  type        = string
}

variable "ssh_public_key" {
  description = "Public key (RSA, OpenSSH's format) that may log in as user meshlab."
  type        = string
}

variable "join_token" {
  description = "Token of kubeadm by which nodes join; it ends two hours after the control plane's start."
  type        = string
  sensitive   = true
}

variable "agent_image" {
  description = "Name and tag of the mesh agent's image in the registry."
  type        = string
}

variable "agent_manifest" {
  description = "Manifests of the mesh agent (YAML), in which IMAGE stands for the image; empty: none is installed."
  type        = string
}

variable "tags" {
  description = "Tags of all resources."
  type        = map(string)
}
