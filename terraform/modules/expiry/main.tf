# Tries to delete the lab at a time, from inside Azure: whoever made it may be
# gone by then. The workflow asks Azure to delete the group that it is in; Azure
# answers 202 and does the rest by itself. The workflow may be deleted before the
# rest: what cannot be deleted then stays, and nobody tries again.

resource "azurerm_logic_app_workflow" "expiry" {
  name                = "${var.name}-expiry"
  location            = var.location
  resource_group_name = var.resource_group
  tags                = var.tags

  identity {
    type = "SystemAssigned"
  }
}

# The right to delete this one group and what is in it, and no other.
resource "azurerm_role_assignment" "expiry" {
  scope                = var.resource_group_id
  role_definition_name = "Contributor"
  principal_id         = azurerm_logic_app_workflow.expiry.identity[0].principal_id
  principal_type       = "ServicePrincipal"
}

resource "azurerm_logic_app_action_custom" "delete" {
  name         = "delete-group"
  logic_app_id = azurerm_logic_app_workflow.expiry.id

  body = jsonencode({
    type     = "Http"
    runAfter = {}
    inputs = {
      method = "DELETE"
      uri    = "https://management.azure.com${var.resource_group_id}?api-version=2021-04-01"
      authentication = {
        type     = "ManagedServiceIdentity"
        audience = "https://management.azure.com/"
      }
    }
  })
}

resource "azurerm_logic_app_trigger_recurrence" "expiry" {
  name         = "expiry"
  logic_app_id = azurerm_logic_app_workflow.expiry.id
  frequency    = "Hour"
  interval     = 1
  start_time   = var.expires

  # Without start_time's moment the first run would be at once, so the trigger
  # comes last, when the right and the action are there.
  depends_on = [azurerm_role_assignment.expiry, azurerm_logic_app_action_custom.delete]
}
