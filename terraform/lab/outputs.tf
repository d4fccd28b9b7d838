output "resource_group" {
  description = "Name of the group that holds all of the lab."
  value       = azurerm_resource_group.lab.name
}

output "registry" {
  description = "Host name of the lab's container registry."
  value       = module.registry.login_server
}

output "aks_cluster" {
  description = "Name of the AKS cluster; null without one."
  value       = one(module.aks_consul[*].cluster_name)
}

output "ovs_ssh" {
  description = "Where SSH reaches the control plane of the cluster with Open vSwitch, as user@address; null without one, or when only Bastion reaches it."
  value       = one(module.ovs_cluster[*].ssh)
}

output "ovs_control_plane_id" {
  description = "ID of the control plane's virtual machine, as `az network bastion ssh` wants it; null without one."
  value       = one(module.ovs_cluster[*].control_plane_id)
}

output "bastion" {
  description = "Name of the Bastion host; null without one."
  value       = module.network.bastion
}
