//go:build integration

package hashicups_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	hashicups "github.com/hashicorp-demoapp/hashicups-client-go"
)

// call sends a JSON request with a token, and returns status and body.
func call(t *testing.T, method, url, token string, body any) (int, string) {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequest(method, url, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

// signUp makes a user over plain HTTP: the client v0.1.0 only signs in.
func signUp(t *testing.T, s shop, username, password string) (token string) {
	t.Helper()
	status, body := call(t, http.MethodPost, s.productAPI+"/signup", "", hashicups.AuthStruct{Username: username, Password: password})
	var session hashicups.AuthResponse
	if err := json.Unmarshal([]byte(body), &session); err != nil || status != http.StatusOK {
		t.Fatalf("sign up %s: status %d: %s", username, status, body)
	}
	if session.UserID == 0 || session.Token == "" {
		t.Fatalf("sign up %s: %+v", username, session)
	}
	return session.Token
}

// TestPublishedClient holds that the published client of the original works
// against product-api as it is.
func TestPublishedClient(t *testing.T) {
	s := open(t)
	user, password, wrong := "grace", "ristretto", "decaf"
	signUp(t, s, user, password)
	if _, err := hashicups.NewClient(&s.productAPI, &user, &wrong); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("sign in with a wrong password: %v", err)
	}
	c, err := hashicups.NewClient(&s.productAPI, &user, &password)
	if err != nil {
		t.Fatalf("sign in: %v", err)
	}

	coffees, err := c.GetCoffees()
	if err != nil || len(coffees) != 9 || coffees[2].Name != "Vaulatte" || coffees[2].Ingredient[1].ID != 2 {
		t.Fatalf("coffees: %+v, %v", coffees, err)
	}
	ingredients, err := c.GetCoffeeIngredients("3")
	if err != nil || len(ingredients) != 2 || ingredients[1].ID != 2 || ingredients[1].Name != "Semi Skimmed Milk" {
		t.Errorf("ingredients of coffee 3: %+v, %v", ingredients, err)
	}

	created, err := c.CreateOrder([]hashicups.OrderItem{{Coffee: coffees[0], Quantity: 2}, {Coffee: coffees[4], Quantity: 1}})
	if err != nil || len(created.Items) != 2 || created.Items[1].Coffee.Name != "Terraspresso" {
		t.Fatalf("create order: %+v, %v", created, err)
	}
	id := strconv.Itoa(created.ID)
	updated, err := c.UpdateOrder(id, []hashicups.OrderItem{{Coffee: coffees[8], Quantity: 4}})
	if err != nil || len(updated.Items) != 1 || updated.Items[0].Coffee.ID != 9 {
		t.Errorf("update order: %+v, %v", updated, err)
	}
	read, err := c.GetOrder(id)
	if err != nil || len(read.Items) != 1 || read.Items[0].Quantity != 4 || len(read.Items[0].Coffee.Ingredient) != 2 {
		t.Errorf("order after update: %+v, %v", read, err)
	}
	if err := c.DeleteOrder(id); err != nil {
		t.Errorf("delete order: %v", err)
	}
	if read, err := c.GetOrder(id); err != nil || read.ID != 0 {
		t.Errorf("order after delete: %+v, %v", read, err)
	}
	checkCreateCoffee(t, c)

	if err := c.SignOut(); err != nil {
		t.Errorf("sign out: %v", err)
	}
	if _, err := c.GetOrder(id); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("a request after the sign-out: %v", err)
	}
}

func checkCreateCoffee(t *testing.T, c *hashicups.Client) {
	t.Helper()
	made, err := c.CreateCoffee(hashicups.Coffee{Name: "Sentinel Mocha", Price: 275})
	if err != nil || made.ID != 10 {
		t.Fatalf("create coffee: %+v, %v", made, err)
	}
	in, err := c.CreateCoffeeIngredient(*made, hashicups.Ingredient{ID: 1, Quantity: 30, Unit: "ml"})
	if err != nil || in.ID != 1 || in.Name != "Espresso" {
		t.Errorf("create ingredient: %+v, %v", in, err)
	}
	read, err := c.GetCoffeeIngredients(strconv.Itoa(made.ID))
	if err != nil || len(read) != 1 || read[0].Quantity != 30 {
		t.Errorf("ingredients of the new coffee: %+v, %v", read, err)
	}
}

// TestProductAPI holds the statuses of requests that the client does not send.
func TestProductAPI(t *testing.T) {
	s := open(t)
	token := signUp(t, s, "ada", "espresso")
	other := signUp(t, s, "mallory", "instant")
	status, body := call(t, "POST", s.productAPI+"/orders", token, []map[string]any{{"coffee": map[string]int{"id": 1}, "quantity": 2}})
	var order hashicups.Order
	if err := json.Unmarshal([]byte(body), &order); err != nil || status != 200 || order.ID == 0 {
		t.Fatalf("create order: %d %s", status, body)
	}
	orderPath := fmt.Sprintf("/orders/%d", order.ID)
	item := func(id, quantity int) any {
		return []map[string]any{{"coffee": map[string]int{"id": id}, "quantity": quantity}}
	}
	tests := []struct {
		name, method, path, token string
		body                      any
		status                    int
		contains                  string
	}{
		{"one coffee", "GET", "/coffees/9", "", nil, 200, `"price":250`},
		{"an unknown coffee is an empty list", "GET", "/coffees/99", "", nil, 200, `[]`},
		{"ingredients of an unknown coffee", "GET", "/coffees/99/ingredients", "", nil, 200, `[]`},
		{"a coffee id that is no number", "GET", "/coffees/x", "", nil, 404, ""},
		{"a coffee id too large", "GET", "/coffees/99999999999", "", nil, 404, ""},
		{"list of orders", "GET", "/orders", token, nil, 200, `"quantity":2`},
		{"another user has no orders", "GET", "/orders", other, nil, 200, `[]`},
		{"another user reads the order", "GET", orderPath, other, nil, 200, `{}`},
		{"another user changes the order", "PUT", orderPath, other, item(1, 9), 404, "not found"},
		{"another user deletes the order", "DELETE", orderPath, other, nil, 200, "Deleted order"},
		{"and it is still there", "GET", orderPath, token, nil, 200, `"quantity":2`},
		{"an order of an unknown coffee", "POST", "/orders", token, item(99, 1), 404, "not found"},
		{"and nothing of it is stored", "GET", "/orders", token, nil, 200, fmt.Sprintf(`[{"id":%d,`, order.ID)},
		{"an order of nothing", "POST", "/orders", token, item(1, 0), 400, "quantity"},
		{"no order but text", "POST", "/orders", token, "espresso", 400, "read the request's body"},
		{"a user that exists", "POST", "/signup", "", map[string]string{"username": "ada", "password": "x"}, 409, "exists"},
		{"no password", "POST", "/signup", "", map[string]string{"username": "eve"}, 400, "missing"},
		{"a password too long", "POST", "/signup", "", map[string]string{"username": "eve", "password": strings.Repeat("x", 73)}, 400, "72"},
		{"a zero byte", "POST", "/signup", "", map[string]string{"username": "e\x00ve", "password": "x"}, 400, "character"},
		{"an unknown user", "POST", "/signin", "", map[string]string{"username": "eve", "password": "x"}, 401, "Invalid Credentials"},
		{"a coffee that exists", "POST", "/coffees", token, map[string]any{"name": "Vaulatte", "price": 1}, 409, "exists"},
		{"a price of half a hundredth", "POST", "/coffees", token, map[string]any{"name": "Half", "price": 1.5}, 400, "price"},
		{"a color that is none", "POST", "/coffees", token, map[string]any{"name": "Red", "color": "red"}, 400, "color"},
		{"an unknown ingredient", "POST", "/coffees/1/ingredients", token, map[string]any{"ingredient_id": 999, "quantity": 1}, 404, "not found"},
		{"a coffee that is not the path's", "POST", "/coffees/1/ingredients", token, map[string]any{"coffee_id": 2, "ingredient_id": 1}, 400, "coffee_id"},
		{"ready", "GET", "/health/readyz", "", nil, 200, "ok"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, body := call(t, tt.method, s.productAPI+tt.path, tt.token, tt.body)
			if status != tt.status || !strings.Contains(body, tt.contains) {
				t.Errorf("got %d %q, want %d with %q", status, body, tt.status, tt.contains)
			}
		})
	}
}
