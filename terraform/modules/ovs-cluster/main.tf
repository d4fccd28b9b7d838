# Virtual machines with kubeadm, Open vSwitch, Multus and ovs-cni: a control
# plane, and a scale set of nodes that carry pods.

locals {
  user  = "meshlab"
  image = "${var.registry_server}/${var.agent_image}"

  node = {
    kubernetes_version = var.kubernetes_version
    image              = local.image
    registry           = var.registry_server
    identity           = azurerm_user_assigned_identity.node.client_id
    image_script       = file("${path.module}/pull-image.sh")
    prepare_script     = file("${path.module}/prepare-node.sh")
  }
}

resource "azurerm_user_assigned_identity" "node" {
  name                = "${var.name}-ovs-node"
  location            = var.location
  resource_group_name = var.resource_group
  tags                = var.tags
}

# All that the machines may do in Azure.
resource "azurerm_role_assignment" "pull" {
  scope                = var.registry_id
  role_definition_name = "AcrPull"
  principal_id         = azurerm_user_assigned_identity.node.principal_id
  principal_type       = "ServicePrincipal"
}

resource "azurerm_public_ip" "control_plane" {
  count = var.public_address ? 1 : 0

  name                = "${var.name}-ovs-control-plane"
  location            = var.location
  resource_group_name = var.resource_group
  allocation_method   = "Static"
  sku                 = "Standard"
  tags                = var.tags
}

resource "azurerm_network_interface" "control_plane" {
  name                = "${var.name}-ovs-control-plane"
  location            = var.location
  resource_group_name = var.resource_group
  tags                = var.tags

  ip_configuration {
    name                          = "lab"
    subnet_id                     = var.subnet_id
    private_ip_address_allocation = "Static"
    private_ip_address            = var.control_plane_ip
    public_ip_address_id          = one(azurerm_public_ip.control_plane[*].id)
  }
}

resource "azurerm_linux_virtual_machine" "control_plane" {
  name                            = "${var.name}-ovs-control-plane"
  location                        = var.location
  resource_group_name             = var.resource_group
  size                            = var.control_plane_size
  admin_username                  = local.user
  disable_password_authentication = true
  network_interface_ids           = [azurerm_network_interface.control_plane.id]
  tags                            = var.tags

  custom_data = base64encode(templatefile("${path.module}/control-plane.yaml.tftpl", merge(local.node, {
    address        = var.control_plane_ip
    public_address = one(azurerm_public_ip.control_plane[*].ip_address)
    join_token     = var.join_token
    agent_manifest = replace(var.agent_manifest, "IMAGE", local.image)
  })))

  admin_ssh_key {
    username   = local.user
    public_key = var.ssh_public_key
  }

  identity {
    type         = "UserAssigned"
    identity_ids = [azurerm_user_assigned_identity.node.id]
  }

  os_disk {
    caching              = "ReadWrite"
    storage_account_type = "StandardSSD_LRS"
    disk_size_gb         = 32
  }

  source_image_reference {
    publisher = "Canonical"
    offer     = "ubuntu-24_04-lts"
    sku       = "server"
    version   = "latest"
  }

  # Another version of meshlab writes other data: machines that run stay as they are.
  lifecycle {
    ignore_changes = [custom_data]
  }
}

resource "azurerm_linux_virtual_machine_scale_set" "nodes" {
  name                            = "${var.name}-ovs-nodes"
  computer_name_prefix            = "${var.name}-node-"
  location                        = var.location
  resource_group_name             = var.resource_group
  sku                             = var.node_size
  instances                       = var.node_count
  admin_username                  = local.user
  disable_password_authentication = true
  overprovision                   = false # a machine too many would join, and be deleted
  tags                            = var.tags

  custom_data = base64encode(templatefile("${path.module}/node.yaml.tftpl", merge(local.node, {
    address    = var.control_plane_ip
    join_token = var.join_token
  })))

  admin_ssh_key {
    username   = local.user
    public_key = var.ssh_public_key
  }

  identity {
    type         = "UserAssigned"
    identity_ids = [azurerm_user_assigned_identity.node.id]
  }

  os_disk {
    caching              = "ReadWrite"
    storage_account_type = "StandardSSD_LRS"
    disk_size_gb         = 32
  }

  source_image_reference {
    publisher = "Canonical"
    offer     = "ubuntu-24_04-lts"
    sku       = "server"
    version   = "latest"
  }

  network_interface {
    name    = "lab"
    primary = true

    ip_configuration {
      name      = "lab"
      primary   = true
      subnet_id = var.subnet_id
    }
  }

  depends_on = [azurerm_linux_virtual_machine.control_plane, azurerm_role_assignment.pull]

  # Another version of meshlab writes other data: machines that run stay as they are.
  lifecycle {
    ignore_changes = [custom_data]
  }
}
