// Package productapi is the product service of HashiCups: coffees, users and
// orders over REST, kept in Postgres. Paths, JSON and the texts that the
// published client compares are those of the original service.
//
// Where it differs, on purpose: a list is read with one query and not with one
// per coffee; ingredients in a coffee carry name, quantity and unit beside the id;
// a request that cannot be right is answered with status 400, 404 or 409 where the
// original answers 500; an order is changed and deleted by its owner only.
//
// It does not make its tables: product-db does.
package productapi
