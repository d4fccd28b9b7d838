provider "azurerm" {
  # What the core set lacks and a lab needs. The provider's own choice would be
  # `legacy`, 66 of them, each of which can fail.
  resource_provider_registrations = "core"
  resource_providers_to_register = [
    "Microsoft.ContainerRegistry",
    "Microsoft.ContainerService",
    "Microsoft.Logic",
  ]

  features {
    resource_group {
      # The group is the lab's alone. What an interrupted run has made in it
      # without writing it down goes with it.
      prevent_deletion_if_contains_resources = false
    }
  }
}

# Certificates of the cluster's administrator. They are read for this provider
# and are no output. The name is made from the ID, which is not known while the
# cluster does not exist: then this is not read, and a lab whose cluster has
# gone can still be taken down.
data "azurerm_kubernetes_cluster" "aks" {
  count = contains(var.clusters, "aks") ? 1 : 0

  name                = element(reverse(split("/", module.aks_consul[0].cluster_id)), 0)
  resource_group_name = azurerm_resource_group.lab.name
}

provider "helm" {
  kubernetes {
    host                   = try(data.azurerm_kubernetes_cluster.aks[0].kube_config[0].host, "")
    client_certificate     = try(base64decode(data.azurerm_kubernetes_cluster.aks[0].kube_config[0].client_certificate), "")
    client_key             = try(base64decode(data.azurerm_kubernetes_cluster.aks[0].kube_config[0].client_key), "")
    cluster_ca_certificate = try(base64decode(data.azurerm_kubernetes_cluster.aks[0].kube_config[0].cluster_ca_certificate), "")
  }
}

locals {
  tags = {
    meshlab-lab     = var.name
    meshlab-expires = var.expires == "" ? "never" : var.expires
  }
}

# Everything of a lab is in this one group, so that deleting the group deletes
# the lab. AKS keeps its nodes in a group of its own, which goes with the cluster.
resource "azurerm_resource_group" "lab" {
  name     = "meshlab-${var.name}"
  location = var.location
  tags     = local.tags
}

module "expiry" {
  source = "../modules/expiry"
  count  = var.expires == "" ? 0 : 1

  name              = var.name
  location          = var.location
  resource_group    = azurerm_resource_group.lab.name
  resource_group_id = azurerm_resource_group.lab.id
  expires           = var.expires
  tags              = local.tags
}

module "network" {
  source = "../modules/network"

  name           = var.name
  location       = var.location
  resource_group = azurerm_resource_group.lab.name
  access         = var.access
  access_cidr    = var.access_cidr
  tags           = local.tags

  # What deletes the lab is there before anything that costs, and goes after it.
  depends_on = [module.expiry]
}

module "registry" {
  source = "../modules/registry"

  name           = "meshlab${replace(var.name, "-", "")}${var.suffix}"
  location       = var.location
  resource_group = azurerm_resource_group.lab.name
  tags           = local.tags

  depends_on = [module.expiry]
}

module "aks_consul" {
  source = "../modules/aks-consul"
  count  = contains(var.clusters, "aks") ? 1 : 0

  name               = var.name
  location           = var.location
  resource_group     = azurerm_resource_group.lab.name
  subnet_id          = module.network.aks_subnet_id
  egress_address     = module.network.egress_address
  access_cidr        = var.access_cidr
  registry_id        = module.registry.id
  node_size          = var.node_size
  node_count         = var.node_count
  kubernetes_version = var.kubernetes_version
  tags               = local.tags
}

module "ovs_cluster" {
  source = "../modules/ovs-cluster"
  count  = contains(var.clusters, "ovs") ? 1 : 0

  name               = var.name
  location           = var.location
  resource_group     = azurerm_resource_group.lab.name
  subnet_id          = module.network.ovs_subnet_id
  control_plane_ip   = module.network.control_plane_ip
  public_address     = var.access == "address"
  registry_id        = module.registry.id
  registry_server    = module.registry.login_server
  node_size          = var.node_size
  node_count         = var.node_count
  control_plane_size = var.control_plane_size
  kubernetes_version = var.kubernetes_version
  ssh_public_key     = var.ssh_public_key
  join_token         = var.join_token
  agent_image        = var.agent_image
  agent_manifest     = var.agent_manifest
  tags               = local.tags
}
