// Package hashicups is the reference application of a lab: a small coffee shop
// of four services and a database, compatible on the wire with the services of
// the same names that the hashicorp-demoapp project publishes as images.
//
//	browser or load generator
//	         |
//	         | GET /, GET /images/...        POST /api
//	         v                                   |
//	     frontend  --- POST /api (GraphQL) --->  |
//	                                             v
//	                                        public-api
//	                                         |      |
//	           GET /coffees, /orders ... (REST)     POST / (REST)
//	                                         |      |
//	                                         v      v
//	                               product-api      payments
//	                                         |
//	                                         | SQL
//	                                         v
//	                                   product-db (Postgres)
//
// Each service is a package below this one with a function Run; package builtin
// lists them under the names that lab files use. This package itself holds the
// tests of the whole chain.
package hashicups
