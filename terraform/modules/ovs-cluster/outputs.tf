output "ssh" {
  description = "Where SSH reaches the control plane, as user@address; null without a public address."
  value       = var.public_address ? "${local.user}@${azurerm_public_ip.control_plane[0].ip_address}" : null
}

output "control_plane_id" {
  description = "ID of the control plane's virtual machine."
  value       = azurerm_linux_virtual_machine.control_plane.id
}
