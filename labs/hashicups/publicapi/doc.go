// Package publicapi is the public service of HashiCups: GraphQL at POST /api,
// over product-api and payments. The schema is that of the original service.
//
// A query makes as many calls as it has such fields: coffees, coffee,
// coffeeIngredients, orders and order are one REST call each. The ingredients
// inside a coffee come with the coffee when product-api sends their names (ours
// does, from one SQL query for the whole list). The original product-api sends
// ids only; then, and only when a query asks for more than the id, the ingredients
// of a coffee are fetched with one call for each coffee, at most ten at a time.
// So the list of coffees costs one round trip in the mesh, as with the original
// services, and does not turn into a measurement of ten.
//
// Prices are in hundredths. The currency argument is taken and changes nothing,
// as in the original.
package publicapi
