# AKS, and Consul with its sidecars by Helm.

resource "azurerm_user_assigned_identity" "cluster" {
  name                = "${var.name}-aks"
  location            = var.location
  resource_group_name = var.resource_group
  tags                = var.tags
}

# The cluster joins its nodes to this subnet, and to no other.
resource "azurerm_role_assignment" "subnet" {
  scope                = var.subnet_id
  role_definition_name = "Network Contributor"
  principal_id         = azurerm_user_assigned_identity.cluster.principal_id
  principal_type       = "ServicePrincipal"
}

resource "azurerm_kubernetes_cluster" "lab" {
  name                              = "${var.name}-aks"
  location                          = var.location
  resource_group_name               = var.resource_group
  node_resource_group               = "${var.resource_group}-aks-nodes"
  dns_prefix                        = var.name
  kubernetes_version                = var.kubernetes_version
  sku_tier                          = "Free"
  role_based_access_control_enabled = true
  run_command_enabled               = false
  tags                              = var.tags

  default_node_pool {
    name                   = "nodes"
    vm_size                = var.node_size
    node_count             = var.node_count
    vnet_subnet_id         = var.subnet_id
    os_disk_type           = "Managed"
    os_disk_size_gb        = var.node_disk_gb
    node_public_ip_enabled = false
    tags                   = var.tags

    upgrade_settings {
      max_surge = "10%"
    }
  }

  identity {
    type         = "UserAssigned"
    identity_ids = [azurerm_user_assigned_identity.cluster.id]
  }

  network_profile {
    network_plugin      = "azure"
    network_plugin_mode = "overlay"
    pod_cidr            = "10.244.0.0/16"
    service_cidr        = "10.43.0.0/16"
    dns_service_ip      = "10.43.0.10"
    load_balancer_sku   = "standard"
    outbound_type       = "userAssignedNATGateway"
  }

  api_server_access_profile {
    authorized_ip_ranges = [var.access_cidr, "${var.egress_address}/32"]
  }

  depends_on = [azurerm_role_assignment.subnet]
}

resource "azurerm_role_assignment" "pull" {
  scope                = var.registry_id
  role_definition_name = "AcrPull"
  principal_id         = azurerm_kubernetes_cluster.lab.kubelet_identity[0].object_id
  principal_type       = "ServicePrincipal"
}

# Without upgrade_install: with it the provider asks the cluster while it plans,
# and there is none yet (hashicorp/terraform-provider-helm, issue 1495).
resource "helm_release" "consul" {
  name             = "consul"
  namespace        = "consul"
  create_namespace = true
  repository       = "https://helm.releases.hashicorp.com"
  chart            = "consul"
  version          = var.consul_chart_version
  wait             = true
  timeout          = 600 # seconds

  values = [yamlencode({
    global = {
      name       = "consul"
      datacenter = "dc1"
    }
    server        = { replicas = 1 }
    connectInject = { enabled = true, default = false }
    ui            = { enabled = false }
  })]

  depends_on = [azurerm_kubernetes_cluster.lab]
}
