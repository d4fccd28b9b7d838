package publicapi

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	graphql "github.com/graph-gophers/graphql-go"
)

// root keeps queries and mutations apart: both have a field "order".
type root struct {
	query    *query
	mutation *mutation
}

func (r *root) Query() any    { return r.query }
func (r *root) Mutation() any { return r.mutation }

// query resolves the GraphQL type Query.
type query struct {
	products products
}

func (q *query) Version() string { return "1" }

func (q *query) Coffees(ctx context.Context) ([]*coffee, error) {
	list, err := q.products.coffees(ctx)
	if err != nil {
		return nil, err
	}
	coffees := make([]*coffee, len(list))
	for i, c := range list {
		coffees[i] = newCoffee(c, q.products)
	}
	return coffees, nil
}

func (q *query) Coffee(ctx context.Context, args struct{ ID string }) (*coffee, error) {
	id, err := parseID("coffee", args.ID)
	if err != nil {
		return nil, err
	}
	c, err := q.products.coffee(ctx, id)
	if err != nil {
		return nil, err
	}
	return newCoffee(c, q.products), nil
}

func (q *query) CoffeeIngredients(ctx context.Context, args struct{ CoffeeID string }) (*[]*ingredient, error) {
	id, err := parseID("coffee", args.CoffeeID)
	if err != nil {
		return nil, err
	}
	list, err := q.products.ingredients(ctx, id)
	if err != nil {
		return nil, err
	}
	ingredients := make([]*ingredient, len(list))
	for i, in := range list {
		ingredients[i] = &ingredient{productIngredient: in}
	}
	return &ingredients, nil
}

func (q *query) Orders(ctx context.Context) (*[]*order, error) {
	token, err := tokenOf(ctx)
	if err != nil {
		return nil, err
	}
	list, err := q.products.orders(ctx, token)
	if err != nil {
		return nil, err
	}
	orders := make([]*order, len(list))
	for i, o := range list {
		orders[i] = &order{productOrder: o, products: q.products}
	}
	return &orders, nil
}

func (q *query) Order(ctx context.Context, args struct{ ID string }) (*order, error) {
	token, err := tokenOf(ctx)
	if err != nil {
		return nil, err
	}
	id, err := parseID("order", args.ID)
	if err != nil {
		return nil, err
	}
	o, err := q.products.order(ctx, token, id)
	if err != nil {
		return nil, err
	}
	return &order{productOrder: o, products: q.products}, nil
}

// mutation resolves the GraphQL type Mutation.
type mutation struct {
	products products
	payments payments
}

type authArgs struct {
	Auth struct{ Username, Password string }
}

func (m *mutation) SignUp(ctx context.Context, args authArgs) (*session, error) {
	s, err := m.products.signUp(ctx, productCredentials(args.Auth))
	if err != nil {
		return nil, err
	}
	return &session{s}, nil
}

func (m *mutation) Login(ctx context.Context, args authArgs) (*session, error) {
	s, err := m.products.signIn(ctx, productCredentials(args.Auth))
	if err != nil {
		return nil, err
	}
	return &session{s}, nil
}

func (m *mutation) SignOut(ctx context.Context) (bool, error) {
	token, err := tokenOf(ctx)
	if err != nil {
		return false, err
	}
	if err := m.products.signOut(ctx, token); err != nil {
		return false, err
	}
	return true, nil
}

type orderArgs struct {
	Items *[]struct {
		Coffee   struct{ ID graphql.ID }
		Quantity int32
	}
}

func (m *mutation) Order(ctx context.Context, args orderArgs) (*order, error) {
	token, err := tokenOf(ctx)
	if err != nil {
		return nil, err
	}
	if args.Items == nil || len(*args.Items) == 0 {
		return nil, errors.New("an order needs at least one item")
	}
	var items []productOrderRequest
	for _, it := range *args.Items {
		id, err := parseID("coffee", string(it.Coffee.ID))
		if err != nil {
			return nil, err
		}
		items = append(items, productOrderRequest{Coffee: productCoffeeRef{ID: id}, Quantity: it.Quantity})
	}
	o, err := m.products.createOrder(ctx, token, items)
	if err != nil {
		return nil, err
	}
	return &order{productOrder: o, products: m.products}, nil
}

type payArgs struct {
	Details *struct {
		Name, Type, Number, Expiry string
		Cv2                        int32
		Amount                     float64
	}
}

func (m *mutation) Pay(ctx context.Context, args payArgs) (*payment, error) {
	d := args.Details
	if d == nil {
		return nil, errors.New("a payment needs details")
	}
	answer, err := m.payments.pay(ctx, paymentRequest{
		Name: d.Name, Type: d.Type, Number: d.Number, Expiry: d.Expiry,
		CVC: fmt.Sprintf("%03d", d.Cv2), // GraphQL's Int drops leading zeros; a code has three digits at least
	})
	if err != nil {
		return nil, err
	}
	return &payment{answer}, nil
}

func parseID(what, text string) (int, error) {
	id, err := strconv.ParseInt(text, 10, 32)
	if err != nil || id < 0 {
		return 0, fmt.Errorf("%s id %q is not a whole number from 0", what, text)
	}
	return int(id), nil
}
