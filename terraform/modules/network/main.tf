# One network for both clusters. Nodes have no public address: what they fetch
# leaves through the NAT gateway, and nothing comes in through it.

locals {
  space       = "10.42.0.0/16"
  aks         = cidrsubnet(local.space, 8, 1)
  ovs         = cidrsubnet(local.space, 8, 2)
  bastion     = cidrsubnet(local.space, 10, 1020) # Bastion wants a /26 at least
  use_bastion = var.access == "bastion"
}

resource "azurerm_virtual_network" "lab" {
  name                = "${var.name}-network"
  location            = var.location
  resource_group_name = var.resource_group
  address_space       = [local.space]
  tags                = var.tags
}

resource "azurerm_subnet" "aks" {
  name                            = "aks"
  resource_group_name             = var.resource_group
  virtual_network_name            = azurerm_virtual_network.lab.name
  address_prefixes                = [local.aks]
  default_outbound_access_enabled = false
}

resource "azurerm_subnet" "ovs" {
  name                            = "ovs"
  resource_group_name             = var.resource_group
  virtual_network_name            = azurerm_virtual_network.lab.name
  address_prefixes                = [local.ovs]
  default_outbound_access_enabled = false
}

resource "azurerm_public_ip" "egress" {
  name                = "${var.name}-egress"
  location            = var.location
  resource_group_name = var.resource_group
  allocation_method   = "Static"
  sku                 = "Standard"
  tags                = var.tags
}

resource "azurerm_nat_gateway" "egress" {
  name                = "${var.name}-egress"
  location            = var.location
  resource_group_name = var.resource_group
  sku_name            = "Standard"
  tags                = var.tags
}

resource "azurerm_nat_gateway_public_ip_association" "egress" {
  nat_gateway_id       = azurerm_nat_gateway.egress.id
  public_ip_address_id = azurerm_public_ip.egress.id
}

resource "azurerm_subnet_nat_gateway_association" "aks" {
  subnet_id      = azurerm_subnet.aks.id
  nat_gateway_id = azurerm_nat_gateway.egress.id
}

resource "azurerm_subnet_nat_gateway_association" "ovs" {
  subnet_id      = azurerm_subnet.ovs.id
  nat_gateway_id = azurerm_nat_gateway.egress.id
}

# Rules of Azure's own allow the network itself and deny the rest. With Bastion
# no rule is added: it reaches the machines from inside the network.
resource "azurerm_network_security_group" "ovs" {
  name                = "${var.name}-ovs"
  location            = var.location
  resource_group_name = var.resource_group
  tags                = var.tags

  dynamic "security_rule" {
    for_each = local.use_bastion ? {} : { ssh = { port = "22", priority = 1001 }, api = { port = "6443", priority = 1002 } }

    content {
      name                       = security_rule.key
      description                = "From the caller's address alone"
      priority                   = security_rule.value.priority
      direction                  = "Inbound"
      access                     = "Allow"
      protocol                   = "Tcp"
      source_port_range          = "*"
      destination_port_range     = security_rule.value.port
      source_address_prefix      = var.access_cidr
      destination_address_prefix = local.ovs
    }
  }
}

resource "azurerm_subnet_network_security_group_association" "ovs" {
  subnet_id                 = azurerm_subnet.ovs.id
  network_security_group_id = azurerm_network_security_group.ovs.id
}

# No rule: nothing of AKS is open to the world, not even a service of type
# LoadBalancer. Its API server is not in this network and has a list of its own.
resource "azurerm_network_security_group" "aks" {
  name                = "${var.name}-aks"
  location            = var.location
  resource_group_name = var.resource_group
  tags                = var.tags
}

resource "azurerm_subnet_network_security_group_association" "aks" {
  subnet_id                 = azurerm_subnet.aks.id
  network_security_group_id = azurerm_network_security_group.aks.id
}

resource "azurerm_subnet" "bastion" {
  count = local.use_bastion ? 1 : 0

  name                 = "AzureBastionSubnet" # Azure wants this name
  resource_group_name  = var.resource_group
  virtual_network_name = azurerm_virtual_network.lab.name
  address_prefixes     = [local.bastion]
}

resource "azurerm_public_ip" "bastion" {
  count = local.use_bastion ? 1 : 0

  name                = "${var.name}-bastion"
  location            = var.location
  resource_group_name = var.resource_group
  allocation_method   = "Static"
  sku                 = "Standard"
  tags                = var.tags
}

resource "azurerm_bastion_host" "lab" {
  count = local.use_bastion ? 1 : 0

  name                = "${var.name}-bastion"
  location            = var.location
  resource_group_name = var.resource_group
  sku                 = "Standard"
  tunneling_enabled   = true # `az network bastion ssh` and `tunnel`
  tags                = var.tags

  ip_configuration {
    name                 = "lab"
    subnet_id            = azurerm_subnet.bastion[0].id
    public_ip_address_id = azurerm_public_ip.bastion[0].id
  }
}
