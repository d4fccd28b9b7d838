package publicapi

import (
	"context"
	"errors"
	"net/http"
	"strconv"
)

// The JSON of product-api.
type (
	productCoffee struct {
		ID          int                 `json:"id"`
		Name        string              `json:"name"`
		Teaser      string              `json:"teaser"`
		Collection  string              `json:"collection"`
		Origin      string              `json:"origin"`
		Color       string              `json:"color"`
		Description string              `json:"description"`
		Price       float64             `json:"price"`
		Image       string              `json:"image"`
		Ingredients []productIngredient `json:"ingredients"`
	}
	// productIngredient has its id under one name inside a coffee and under
	// another in a list of its own.
	productIngredient struct {
		IngredientID int    `json:"ingredient_id,omitempty"`
		ID           int    `json:"id,omitempty"`
		Name         string `json:"name,omitempty"`
		Quantity     int32  `json:"quantity,omitempty"`
		Unit         string `json:"unit,omitempty"`
	}
	productOrder struct {
		ID    int                `json:"id"`
		Items []productOrderItem `json:"items"`
	}
	productOrderItem struct {
		Coffee   productCoffee `json:"coffee"`
		Quantity int32         `json:"quantity"`
	}
	productOrderRequest struct {
		Coffee   productCoffeeRef `json:"coffee"`
		Quantity int32            `json:"quantity"`
	}
	productCoffeeRef struct {
		ID int `json:"id"`
	}
	productCredentials struct {
		Username string `json:"username"`
		Password string `json:"password"`
	}
	// productSession has the user's id under the name that the original sends, and
	// under that of our product-api, which sends both.
	productSession struct {
		UserID   int32  `json:"user_id"`
		SameID   int32  `json:"UserID"`
		Username string `json:"username"`
		Token    string `json:"token"`
	}
)

// products calls product-api.
type products struct{ rest }

func (p products) coffees(ctx context.Context) (list []productCoffee, err error) {
	return list, p.call(ctx, http.MethodGet, "coffees", "", nil, &list)
}

func (p products) coffee(ctx context.Context, id int) (productCoffee, error) {
	var list []productCoffee
	if err := p.call(ctx, http.MethodGet, "coffees/"+strconv.Itoa(id), "", nil, &list); err != nil {
		return productCoffee{}, err
	}
	if len(list) == 0 {
		return productCoffee{}, errors.New("there is no coffee with this id")
	}
	return list[0], nil
}

func (p products) ingredients(ctx context.Context, coffeeID int) (list []productIngredient, err error) {
	return list, p.call(ctx, http.MethodGet, "coffees/"+strconv.Itoa(coffeeID)+"/ingredients", "", nil, &list)
}

func (p products) orders(ctx context.Context, token string) (list []productOrder, err error) {
	return list, p.call(ctx, http.MethodGet, "orders", token, nil, &list)
}

func (p products) order(ctx context.Context, token string, id int) (productOrder, error) {
	var o productOrder
	if err := p.call(ctx, http.MethodGet, "orders/"+strconv.Itoa(id), token, nil, &o); err != nil {
		return productOrder{}, err
	}
	if o.ID == 0 { // how product-api answers an id that the user has not
		return productOrder{}, errors.New("there is no order with this id")
	}
	return o, nil
}

func (p products) createOrder(ctx context.Context, token string, items []productOrderRequest) (o productOrder, err error) {
	return o, p.call(ctx, http.MethodPost, "orders", token, items, &o)
}

func (p products) signUp(ctx context.Context, c productCredentials) (s productSession, err error) {
	return s, p.call(ctx, http.MethodPost, "signup", "", c, &s)
}

func (p products) signIn(ctx context.Context, c productCredentials) (s productSession, err error) {
	return s, p.call(ctx, http.MethodPost, "signin", "", c, &s)
}

func (p products) signOut(ctx context.Context, token string) error {
	var text string
	return p.call(ctx, http.MethodPost, "signout", token, nil, &text)
}

func (p products) ready(ctx context.Context) error {
	var text string
	return p.call(ctx, http.MethodGet, "health/readyz", "", nil, &text)
}
