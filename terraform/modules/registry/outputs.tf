output "id" {
  description = "ID of the registry, to give identities the right to pull."
  value       = azurerm_container_registry.lab.id
}

output "login_server" {
  description = "Host name of the registry."
  value       = azurerm_container_registry.lab.login_server
}
