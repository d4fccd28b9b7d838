package productapi

import (
	"errors"
	"math"
	"net/http"

	"meshlab.dev/meshlab/labs/builtin/service"
)

func (a *api) listOrders(userID int, w http.ResponseWriter, r *http.Request) {
	list, err := a.db.orders(r.Context(), userID)
	a.reply(w, r, list, err)
}

// showOrder answers an empty order when the user has none with this id: clients
// of the original (its Terraform provider) tell a deleted order by that.
func (a *api) showOrder(userID int, w http.ResponseWriter, r *http.Request) {
	id, ok := pathID(w, r)
	if !ok {
		return
	}
	order, err := a.db.order(r.Context(), userID, id)
	if errors.Is(err, errNotFound) {
		order, err = Order{}, nil
	}
	a.reply(w, r, order, err)
}

func (a *api) createOrder(userID int, w http.ResponseWriter, r *http.Request) {
	items, ok := decodeItems(w, r)
	if !ok {
		return
	}
	order, err := a.db.createOrder(r.Context(), userID, items)
	a.reply(w, r, order, err)
}

func (a *api) updateOrder(userID int, w http.ResponseWriter, r *http.Request) {
	id, ok := pathID(w, r)
	if !ok {
		return
	}
	items, ok := decodeItems(w, r)
	if !ok {
		return
	}
	order, err := a.db.updateOrder(r.Context(), userID, id, items)
	a.reply(w, r, order, err)
}

func (a *api) deleteOrder(userID int, w http.ResponseWriter, r *http.Request) {
	id, ok := pathID(w, r)
	if !ok {
		return
	}
	if err := a.db.deleteOrder(r.Context(), userID, id); err != nil {
		a.fail(w, r, err)
		return
	}
	service.ReplyText(w, "Deleted order") // the published client compares this text
}

// maxItems bounds what one order stores.
const maxItems = 1000

func decodeItems(w http.ResponseWriter, r *http.Request) ([]OrderItem, bool) {
	var items []OrderItem
	if !decode(w, r, &items) {
		return nil, false
	}
	if len(items) > maxItems {
		http.Error(w, "store the order: more than 1000 items", http.StatusBadRequest)
		return nil, false
	}
	for _, it := range items {
		if it.Quantity < 1 || it.Quantity > math.MaxInt32 || it.Coffee.ID < 0 || it.Coffee.ID > math.MaxInt32 {
			http.Error(w, "store the order: each item needs a coffee id and a quantity from 1", http.StatusBadRequest)
			return nil, false
		}
	}
	return items, true
}
