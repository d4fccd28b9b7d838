# At most two connections at a time, to each instance.
Kind                  = "service-defaults"
Name                  = "web"
MaxInboundConnections = 2
