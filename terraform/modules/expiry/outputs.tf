output "workflow" {
  description = "Name of the workflow that deletes the group."
  value       = azurerm_logic_app_workflow.expiry.name
}
