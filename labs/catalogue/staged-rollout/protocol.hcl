# Consul splits connections of services with this protocol only.
Kind     = "service-defaults"
Name     = "web"
Protocol = "http"
