package productapi

import (
	"math"
	"net/http"
	"regexp"
)

func (a *api) listCoffees(w http.ResponseWriter, r *http.Request) {
	list, err := a.db.coffees(r.Context())
	a.reply(w, r, list, err)
}

// showCoffee answers a list of one coffee, or an empty one, as the original does.
func (a *api) showCoffee(w http.ResponseWriter, r *http.Request) {
	id, ok := pathID(w, r)
	if !ok {
		return
	}
	list, err := a.db.coffee(r.Context(), id)
	a.reply(w, r, list, err)
}

func (a *api) listIngredients(w http.ResponseWriter, r *http.Request) {
	id, ok := pathID(w, r)
	if !ok {
		return
	}
	list, err := a.db.ingredients(r.Context(), id)
	a.reply(w, r, list, err)
}

// colorPattern is what fits the column and a style sheet.
var colorPattern = regexp.MustCompile(`^(#[0-9a-fA-F]{3}|#[0-9a-fA-F]{6})?$`)

func (a *api) createCoffee(_ int, w http.ResponseWriter, r *http.Request) {
	var c Coffee
	if !decode(w, r, &c) {
		return
	}
	switch {
	case c.Name == "":
		http.Error(w, "store the coffee: name is missing", http.StatusBadRequest)
		return
	case c.Price != math.Trunc(c.Price) || c.Price < 0 || c.Price > math.MaxInt32:
		http.Error(w, "store the coffee: price is not a whole number of hundredths from 0", http.StatusBadRequest)
		return
	case !colorPattern.MatchString(c.Color):
		http.Error(w, "store the coffee: color is not of the form #RGB or #RRGGBB", http.StatusBadRequest)
		return
	case max(len(c.Name), len(c.Teaser), len(c.Collection), len(c.Origin)) > maxTextBytes:
		http.Error(w, "store the coffee: name, teaser, collection and origin hold at most 255 bytes each", http.StatusBadRequest)
		return
	}
	made, err := a.db.createCoffee(r.Context(), c)
	a.reply(w, r, made, err)
}

const (
	maxTextBytes = 255 // of the columns of type varchar(255)
	maxUnitBytes = 50
)

func (a *api) putIngredient(_ int, w http.ResponseWriter, r *http.Request) {
	id, ok := pathID(w, r)
	if !ok {
		return
	}
	var body struct {
		CoffeeID     int    `json:"coffee_id"`
		IngredientID int    `json:"ingredient_id"`
		Quantity     int    `json:"quantity"`
		Unit         string `json:"unit"`
	}
	if !decode(w, r, &body) {
		return
	}
	switch {
	case body.CoffeeID != 0 && body.CoffeeID != id:
		http.Error(w, "store the ingredient: coffee_id is not the coffee of the path", http.StatusBadRequest)
		return
	case body.Quantity < 0 || body.Quantity > math.MaxInt32:
		http.Error(w, "store the ingredient: quantity is out of range", http.StatusBadRequest)
		return
	case body.IngredientID < 0 || body.IngredientID > math.MaxInt32 || len(body.Unit) > maxUnitBytes:
		http.Error(w, "store the ingredient: ingredient_id or unit is out of range", http.StatusBadRequest)
		return
	}
	made, err := a.db.putIngredient(r.Context(), id, Ingredient{ID: body.IngredientID, Quantity: body.Quantity, Unit: body.Unit})
	a.reply(w, r, made, err)
}
