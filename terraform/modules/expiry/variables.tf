variable "name" {
  description = "Begins the names of all resources."
  type        = string
}

variable "location" {
  description = "Azure region."
  type        = string
}

variable "resource_group" {
  description = "Name of the group to delete; the workflow is made in it too."
  type        = string
}

variable "resource_group_id" {
  description = "ID of the same group."
  type        = string
}

variable "expires" {
  description = "When to delete it: an RFC 3339 time in UTC. Tried again every hour from then on, for as long as the workflow, which is in the group too, is there."
  type        = string
}

variable "tags" {
  description = "Tags of the workflow."
  type        = map(string)
}
