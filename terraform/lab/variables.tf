variable "name" {
  description = "Name of the lab: begins the names of all its resources."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,18}[a-z0-9]$", var.name))
    error_message = "A name is 2 to 20 lower-case letters, digits and hyphens, and begins with a letter."
  }
}

variable "suffix" {
  description = "Five lower-case letters or digits that make names unique which all of Azure shares, as the registry's."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9]{5}$", var.suffix))
    error_message = "The suffix is five lower-case letters or digits."
  }
}

variable "location" {
  description = "Azure region, as `az account list-locations` tells it."
  type        = string
  default     = "eastus"
}

variable "clusters" {
  description = "What to make: `aks` (AKS with Consul Connect), `ovs` (virtual machines with Open vSwitch), or both."
  type        = set(string)
  default     = ["aks", "ovs"]

  validation {
    condition     = length(var.clusters) > 0 && length(setsubtract(var.clusters, ["aks", "ovs"])) == 0
    error_message = "Clusters are aks and ovs."
  }
}

variable "access_cidr" {
  description = "The caller's IPv4 address as a CIDR, as 198.51.100.7/32: the only one that may reach SSH and the API servers."
  type        = string

  validation {
    condition     = can(cidrhost(var.access_cidr, 0)) && can(regex("/(2[4-9]|3[0-2])$", var.access_cidr))
    error_message = "The access CIDR holds at most 256 addresses: /24 to /32. Nothing of a lab is open to the world."
  }
}

variable "access" {
  description = "How SSH reaches the virtual machines: `address` (from access_cidr), or `bastion` (Azure Bastion, which costs extra; they have no public address then)."
  type        = string
  default     = "address"

  validation {
    condition     = contains(["address", "bastion"], var.access)
    error_message = "Access is address or bastion."
  }
}

variable "expires" {
  description = "When Azure is asked to delete the lab, as an RFC 3339 time in UTC; empty: never."
  type        = string
  default     = ""

  validation {
    condition     = var.expires == "" || can(formatdate("YYYY", var.expires))
    error_message = "The time of expiry is an RFC 3339 time, as 2026-11-22T18:00:00Z."
  }
}

variable "node_size" {
  description = "Size of the nodes that carry pods."
  type        = string
  default     = "Standard_B2ms"
}

variable "node_count" {
  description = "Nodes of each cluster that carry pods."
  type        = number
  default     = 2

  validation {
    condition     = var.node_count >= 1 && var.node_count <= 50
    error_message = "A cluster has 1 to 50 nodes."
  }
}

variable "control_plane_size" {
  description = "Size of the virtual machine that runs the control plane of the cluster with Open vSwitch."
  type        = string
  default     = "Standard_B2s"
}

variable "kubernetes_version" {
  description = "Minor version of Kubernetes in both clusters, as 1.35: one that AKS offers without long-term support."
  type        = string
  default     = "1.35"

  validation {
    condition     = can(regex("^1\\.[0-9]{2}$", var.kubernetes_version))
    error_message = "A minor version of Kubernetes is as 1.35."
  }
}

variable "ssh_public_key" {
  description = "Public key (RSA, OpenSSH's format) that may log in to the virtual machines. The private one stays with the caller."
  type        = string
}

variable "join_token" {
  description = "Token by which nodes join the cluster with Open vSwitch within its first two hours, in kubeadm's format."
  type        = string
  sensitive   = true

  validation {
    condition     = can(regex("^[a-z0-9]{6}\\.[a-z0-9]{16}$", var.join_token))
    error_message = "A token of kubeadm is [a-z0-9]{6}.[a-z0-9]{16}."
  }
}

variable "agent_image" {
  description = "Name and tag of the mesh agent's image in the lab's registry."
  type        = string
  default     = "meshlab:latest"
}

variable "agent_manifest" {
  description = "Manifests of the mesh agent (YAML), in which IMAGE stands for the image; empty: none is installed."
  type        = string
  default     = ""
}
