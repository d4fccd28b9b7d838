package productapi

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// orders returns the user's orders with their items, by id.
func (s *store) orders(ctx context.Context, userID int) ([]Order, error) {
	return s.queryOrders(ctx, `SELECT id FROM orders WHERE user_id = $1 AND deleted_at IS NULL ORDER BY id`, userID)
}

// order returns one order of the user, or errNotFound.
func (s *store) order(ctx context.Context, userID, orderID int) (Order, error) {
	list, err := s.queryOrders(ctx,
		`SELECT id FROM orders WHERE user_id = $1 AND id = $2 AND deleted_at IS NULL`, userID, orderID)
	if err != nil {
		return Order{}, err
	}
	if len(list) == 0 {
		return Order{}, fmt.Errorf("order %d: %w", orderID, errNotFound)
	}
	return list[0], nil
}

// queryOrders runs a query that selects order ids, and reads the items of all
// of them in one query more.
func (s *store) queryOrders(ctx context.Context, sql string, args ...any) ([]Order, error) {
	rows, err := s.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("query orders: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err != nil {
		return nil, fmt.Errorf("read orders: %w", err)
	}
	orders := make([]Order, len(ids))
	position := make(map[int]int, len(ids))
	for i, id := range ids {
		orders[i].ID = id
		position[id] = i
	}
	rows, err = s.pool.Query(ctx, `SELECT oi.order_id, oi.quantity, `+coffeeColumns+`
		FROM order_items oi JOIN coffees c ON c.id = oi.coffee_id
		WHERE oi.order_id = ANY($1) AND oi.deleted_at IS NULL ORDER BY oi.order_id, oi.id`, ids)
	if err != nil {
		return nil, fmt.Errorf("query order items: %w", err)
	}
	var orderID int
	var it OrderItem
	c := &it.Coffee
	_, err = pgx.ForEachRow(rows, []any{&orderID, &it.Quantity, &c.ID, &c.Name, &c.Teaser, &c.Collection, &c.Origin, &c.Color, &c.Description, &c.Price, &c.Image}, func() error {
		o := &orders[position[orderID]]
		item := it
		item.Coffee.Ingredients = []CoffeeIngredient{}
		o.Items = append(o.Items, item)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read order items: %w", err)
	}
	var coffees []*Coffee
	for i := range orders {
		for j := range orders[i].Items {
			coffees = append(coffees, &orders[i].Items[j].Coffee)
		}
	}
	return orders, s.fillIngredients(ctx, coffees)
}

// createOrder stores an order. It returns errNotFound when a coffee does not exist.
func (s *store) createOrder(ctx context.Context, userID int, items []OrderItem) (Order, error) {
	var id int
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx,
			`INSERT INTO orders (user_id, created_at, updated_at) VALUES ($1, now(), now()) RETURNING id`, userID).Scan(&id)
		if err != nil {
			return err
		}
		return insertItems(ctx, tx, id, items)
	})
	if err != nil {
		return Order{}, fmt.Errorf("store the order: %w", err)
	}
	return s.order(ctx, userID, id)
}

// updateOrder replaces the items of the user's order. It returns errNotFound
// when the user has no such order or a coffee does not exist.
func (s *store) updateOrder(ctx context.Context, userID, orderID int, items []OrderItem) (Order, error) {
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		var id int
		err := tx.QueryRow(ctx, `UPDATE orders SET updated_at = now()
			WHERE user_id = $1 AND id = $2 AND deleted_at IS NULL RETURNING id`, userID, orderID).Scan(&id)
		if err != nil {
			return err
		}
		if err := removeItems(ctx, tx, orderID); err != nil {
			return err
		}
		return insertItems(ctx, tx, orderID, items)
	})
	if err != nil {
		return Order{}, fmt.Errorf("change order %d: %w", orderID, err)
	}
	return s.order(ctx, userID, orderID)
}

// deleteOrder marks the user's order as deleted. An order that the user does
// not have is no error: it is gone either way.
func (s *store) deleteOrder(ctx context.Context, userID, orderID int) error {
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `UPDATE orders SET deleted_at = now()
			WHERE user_id = $1 AND id = $2 AND deleted_at IS NULL`, userID, orderID)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		return removeItems(ctx, tx, orderID)
	})
	if err != nil {
		return fmt.Errorf("delete order %d: %w", orderID, err)
	}
	return nil
}

func removeItems(ctx context.Context, tx pgx.Tx, orderID int) error {
	_, err := tx.Exec(ctx, `UPDATE order_items SET deleted_at = now() WHERE order_id = $1 AND deleted_at IS NULL`, orderID)
	return err
}

func insertItems(ctx context.Context, tx pgx.Tx, orderID int, items []OrderItem) error {
	batch := &pgx.Batch{}
	for _, it := range items {
		batch.Queue(`INSERT INTO order_items (order_id, coffee_id, quantity, created_at, updated_at)
			VALUES ($1, $2, $3, now(), now())`, orderID, it.Coffee.ID, it.Quantity)
	}
	return tx.SendBatch(ctx, batch).Close()
}
