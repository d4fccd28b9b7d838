output "cluster_id" {
  description = "ID of the cluster."
  value       = azurerm_kubernetes_cluster.lab.id
}

output "cluster_name" {
  description = "Name of the cluster, for `az aks get-credentials`."
  value       = azurerm_kubernetes_cluster.lab.name
}
