variable "name" {
  description = "Name of the registry, unique in all of Azure: 5 to 50 lower-case letters and digits."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9]{5,50}$", var.name))
    error_message = "A registry's name is 5 to 50 lower-case letters and digits."
  }
}

variable "location" {
  description = "Azure region."
  type        = string
}

variable "resource_group" {
  description = "Name of the group that the registry is made in."
  type        = string
}

variable "tags" {
  description = "Tags of the registry."
  type        = map(string)
}
