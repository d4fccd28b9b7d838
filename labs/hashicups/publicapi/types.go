package publicapi

import (
	"context"
	"strconv"
	"sync"

	graphql "github.com/graph-gophers/graphql-go"
)

// coffee resolves the GraphQL type Coffee.
type coffee struct {
	productCoffee
	products products

	once        sync.Once // guards the two below
	fetched     []productIngredient
	fetchFailed error
}

func newCoffee(c productCoffee, p products) *coffee {
	return &coffee{productCoffee: c, products: p}
}

func (c *coffee) ID() graphql.ID       { return idOf(c.productCoffee.ID) }
func (c *coffee) Name() *string        { return &c.productCoffee.Name }
func (c *coffee) Image() *string       { return &c.productCoffee.Image }
func (c *coffee) Teaser() *string      { return &c.productCoffee.Teaser }
func (c *coffee) Collection() *string  { return &c.productCoffee.Collection }
func (c *coffee) Origin() *string      { return &c.productCoffee.Origin }
func (c *coffee) Color() *string       { return &c.productCoffee.Color }
func (c *coffee) Description() *string { return &c.productCoffee.Description }

// Price is the same in every currency.
func (c *coffee) Price(struct{ Currency string }) *float64 { return &c.productCoffee.Price }

func (c *coffee) Ingredients() *[]*ingredient {
	list := make([]*ingredient, len(c.productCoffee.Ingredients))
	for i, in := range c.productCoffee.Ingredients {
		list[i] = &ingredient{productIngredient: in, of: c}
	}
	return &list
}

// complete returns the ingredient with its name, quantity and unit. It calls
// product-api once for each coffee, and only when the coffee came with bare ids.
func (c *coffee) complete(ctx context.Context, id int) (productIngredient, error) {
	c.once.Do(func() {
		c.fetched, c.fetchFailed = c.products.ingredients(ctx, c.productCoffee.ID)
	})
	if c.fetchFailed != nil {
		return productIngredient{}, c.fetchFailed
	}
	for _, in := range c.fetched {
		if in.ID == id {
			return in, nil
		}
	}
	return productIngredient{}, nil // removed between the two calls
}

// ingredient resolves the GraphQL type Ingredient.
type ingredient struct {
	productIngredient
	of *coffee // nil in a list of its own
}

func (in *ingredient) id() int {
	return max(in.productIngredient.ID, in.IngredientID)
}

func (in *ingredient) ID() graphql.ID { return idOf(in.id()) }

func (in *ingredient) full(ctx context.Context) (productIngredient, error) {
	if in.of == nil || in.productIngredient.Name != "" {
		return in.productIngredient, nil
	}
	return in.of.complete(ctx, in.id())
}

func (in *ingredient) Name(ctx context.Context) (*string, error) {
	full, err := in.full(ctx)
	return &full.Name, err
}

func (in *ingredient) Quantity(ctx context.Context) (*int32, error) {
	full, err := in.full(ctx)
	return &full.Quantity, err
}

func (in *ingredient) Unit(ctx context.Context) (*string, error) {
	full, err := in.full(ctx)
	return &full.Unit, err
}

// order resolves the GraphQL type Order.
type order struct {
	productOrder
	products products
}

func (o *order) ID() graphql.ID { return idOf(o.productOrder.ID) }

func (o *order) Items() *[]*orderItem {
	list := make([]*orderItem, len(o.productOrder.Items))
	for i, it := range o.productOrder.Items {
		list[i] = &orderItem{coffee: newCoffee(it.Coffee, o.products), quantity: it.Quantity}
	}
	return &list
}

// orderItem resolves the GraphQL type OrderItem.
type orderItem struct {
	coffee   *coffee
	quantity int32
}

func (it *orderItem) Coffee() *coffee { return it.coffee }
func (it *orderItem) Quantity() int32 { return it.quantity }

// session resolves the GraphQL type AuthResponse.
type session struct{ productSession }

func (s *session) UserID() int32    { return max(s.productSession.UserID, s.SameID) }
func (s *session) Username() string { return s.productSession.Username }
func (s *session) Token() string    { return s.productSession.Token }

// payment resolves the GraphQL type PaymentResponse.
type payment struct{ paymentAnswer }

func (p *payment) ID() string             { return p.paymentAnswer.ID }
func (p *payment) Message() string        { return p.paymentAnswer.Message }
func (p *payment) CardPlaintext() string  { return p.paymentAnswer.CardPlaintext }
func (p *payment) CardCiphertext() string { return p.paymentAnswer.CardCiphertext }

func idOf(n int) graphql.ID { return graphql.ID(strconv.Itoa(n)) }
