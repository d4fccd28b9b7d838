output "aks_subnet_id" {
  description = "ID of the subnet for AKS' nodes, once its way out and its rules are there."
  value       = azurerm_subnet.aks.id
  depends_on = [
    azurerm_nat_gateway_public_ip_association.egress,
    azurerm_subnet_nat_gateway_association.aks,
    azurerm_subnet_network_security_group_association.aks,
  ]
}

output "ovs_subnet_id" {
  description = "ID of the subnet for the virtual machines with Open vSwitch, once its way out and its rules are there."
  value       = azurerm_subnet.ovs.id
  depends_on = [
    azurerm_nat_gateway_public_ip_association.egress,
    azurerm_subnet_nat_gateway_association.ovs,
    azurerm_subnet_network_security_group_association.ovs,
  ]
}

output "control_plane_ip" {
  description = "IPv4 address in the ovs subnet that is kept for the control plane."
  value       = cidrhost(local.ovs, 10)
}

output "egress_address" {
  description = "Public IPv4 address from which nodes reach the Internet."
  value       = azurerm_public_ip.egress.ip_address
}

output "bastion" {
  description = "Name of the Bastion host; null without one."
  value       = one(azurerm_bastion_host.lab[*].name)
}
