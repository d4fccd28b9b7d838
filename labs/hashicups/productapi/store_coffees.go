package productapi

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// coffeeColumns are read by scanCoffee in this order. Columns that the schema
// lets be NULL are empty texts in JSON.
const coffeeColumns = `c.id, c.name, coalesce(c.teaser, ''), coalesce(c.collection, ''),
	coalesce(c.origin, ''), coalesce(c.color, ''), coalesce(c.description, ''),
	c.price::float8, coalesce(c.image, '')`

// ingredientColumns are read in this order into CoffeeIngredient and Ingredient.
const ingredientColumns = `i.id, i.name, ci.quantity, ci.unit`

func scanCoffee(row pgx.CollectableRow) (Coffee, error) {
	c := Coffee{Ingredients: []CoffeeIngredient{}}
	err := row.Scan(&c.ID, &c.Name, &c.Teaser, &c.Collection, &c.Origin, &c.Color, &c.Description, &c.Price, &c.Image)
	return c, err
}

func scanIngredient(row pgx.CollectableRow) (Ingredient, error) {
	var in Ingredient
	err := row.Scan(&in.ID, &in.Name, &in.Quantity, &in.Unit)
	in.IngredientID = in.ID
	return in, err
}

// coffees returns all coffees with their ingredients, by id.
func (s *store) coffees(ctx context.Context) ([]Coffee, error) {
	return s.queryCoffees(ctx, `SELECT `+coffeeColumns+` FROM coffees c WHERE c.deleted_at IS NULL ORDER BY c.id`)
}

// coffee returns the coffee with this id, as a list of one or none.
func (s *store) coffee(ctx context.Context, id int) ([]Coffee, error) {
	return s.queryCoffees(ctx, `SELECT `+coffeeColumns+` FROM coffees c WHERE c.id = $1 AND c.deleted_at IS NULL`, id)
}

func (s *store) queryCoffees(ctx context.Context, sql string, args ...any) ([]Coffee, error) {
	rows, err := s.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("query coffees: %w", err)
	}
	coffees, err := pgx.CollectRows(rows, scanCoffee)
	if err != nil {
		return nil, fmt.Errorf("read coffees: %w", err)
	}
	pointers := make([]*Coffee, len(coffees))
	for i := range coffees {
		pointers[i] = &coffees[i]
	}
	return coffees, s.fillIngredients(ctx, pointers)
}

// fillIngredients reads the ingredients of all coffees in one query.
func (s *store) fillIngredients(ctx context.Context, coffees []*Coffee) error {
	if len(coffees) == 0 {
		return nil
	}
	byID := make(map[int][]*Coffee, len(coffees)) // an order may name a coffee twice
	ids := make([]int, 0, len(coffees))
	for _, c := range coffees {
		byID[c.ID] = append(byID[c.ID], c)
		ids = append(ids, c.ID)
	}
	rows, err := s.pool.Query(ctx, `SELECT ci.coffee_id, `+ingredientColumns+`
		FROM coffee_ingredients ci JOIN ingredients i ON i.id = ci.ingredient_id
		WHERE ci.coffee_id = ANY($1) AND ci.quantity > 0 AND ci.deleted_at IS NULL
		ORDER BY ci.coffee_id, ci.id`, ids)
	if err != nil {
		return fmt.Errorf("query ingredients: %w", err)
	}
	var coffeeID int
	var in CoffeeIngredient
	_, err = pgx.ForEachRow(rows, []any{&coffeeID, &in.ID, &in.Name, &in.Quantity, &in.Unit}, func() error {
		for _, c := range byID[coffeeID] {
			c.Ingredients = append(c.Ingredients, in)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read ingredients: %w", err)
	}
	return nil
}

// ingredients returns the ingredients of a coffee; of an unknown one, none.
func (s *store) ingredients(ctx context.Context, coffeeID int) ([]Ingredient, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+ingredientColumns+`
		FROM coffee_ingredients ci JOIN ingredients i ON i.id = ci.ingredient_id
		WHERE ci.coffee_id = $1 AND ci.deleted_at IS NULL ORDER BY ci.id`, coffeeID)
	if err != nil {
		return nil, fmt.Errorf("query ingredients: %w", err)
	}
	list, err := pgx.CollectRows(rows, scanIngredient)
	if err != nil {
		return nil, fmt.Errorf("read ingredients: %w", err)
	}
	return list, nil
}

// createCoffee stores a coffee without ingredients and returns it with its id.
// It returns errExists for a name that is taken.
func (s *store) createCoffee(ctx context.Context, c Coffee) (Coffee, error) {
	err := s.pool.QueryRow(ctx, `
		INSERT INTO coffees (name, teaser, collection, origin, color, description, price, image, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, now(), now()) RETURNING id`,
		c.Name, c.Teaser, c.Collection, c.Origin, c.Color, c.Description, int(c.Price), c.Image).Scan(&c.ID)
	if err != nil {
		return Coffee{}, fmt.Errorf("store the coffee: %w", classify(err))
	}
	c.Ingredients = []CoffeeIngredient{}
	return c, nil
}

// putIngredient gives a coffee an ingredient, or changes its quantity and unit.
// It returns errNotFound when the coffee or the ingredient does not exist.
func (s *store) putIngredient(ctx context.Context, coffeeID int, in Ingredient) (Ingredient, error) {
	err := s.pool.QueryRow(ctx, `
		WITH put AS (
			INSERT INTO coffee_ingredients AS ci (coffee_id, ingredient_id, quantity, unit, created_at, updated_at)
			VALUES ($1, $2, $3, $4, now(), now())
			ON CONFLICT ON CONSTRAINT unique_coffee_ingredient
			DO UPDATE SET quantity = EXCLUDED.quantity, unit = EXCLUDED.unit, updated_at = now(), deleted_at = NULL
			RETURNING ci.ingredient_id
		) SELECT i.name FROM ingredients i JOIN put ON put.ingredient_id = i.id`,
		coffeeID, in.ID, in.Quantity, in.Unit).Scan(&in.Name)
	if err != nil {
		return Ingredient{}, fmt.Errorf("store the ingredient: %w", classify(err))
	}
	in.IngredientID = in.ID
	return in, nil
}
