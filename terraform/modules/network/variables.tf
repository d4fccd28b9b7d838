variable "name" {
  description = "Begins the names of all resources."
  type        = string
}

variable "location" {
  description = "Azure region."
  type        = string
}

variable "resource_group" {
  description = "Name of the group that the resources are made in."
  type        = string
}

variable "access" {
  description = "`address`: SSH from access_cidr; `bastion`: through Azure Bastion, which is made."
  type        = string
}

variable "access_cidr" {
  description = "IPv4 CIDR of the caller, the only one that may reach SSH (22/tcp) and the API server (6443/tcp)."
  type        = string
}

variable "tags" {
  description = "Tags of all resources."
  type        = map(string)
}
