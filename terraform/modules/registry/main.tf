# A registry for the mesh agent's image. It has no password: nodes pull with
# their identities, the caller pushes with a token of `az`.
resource "azurerm_container_registry" "lab" {
  name                   = var.name
  location               = var.location
  resource_group_name    = var.resource_group
  sku                    = "Basic"
  admin_enabled          = false
  anonymous_pull_enabled = false
  tags                   = var.tags
}
