# web-1 once more, with three times the weight of the others.
service {
  id      = "web-1"
  name    = "web"
  address = "10.10.0.1"
  port    = 8080
  weights = { passing = 3, warning = 1 }
  check   = { tcp = "10.10.0.1:8080", interval = "1s", status = "passing" }
}
