//go:build integration

package hashicups_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
)

const getCoffees = `query GetCoffees { coffees { id name image teaser collection origin color description price ingredients { id name quantity unit } } }`

type answer struct {
	Data   json.RawMessage
	Errors []struct{ Message string }
}

// ask sends one GraphQL request to url and fails on any error in the answer.
func ask(t *testing.T, url, query, token string, variables, data any) {
	t.Helper()
	if err := tryAsk(url, query, token, variables, data); err != nil {
		t.Fatal(err)
	}
}

func tryAsk(url, query, token string, variables, data any) error {
	body, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	if err != nil {
		return err
	}
	req, err := http.NewRequest(http.MethodPost, url, strings.NewReader(string(body)))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	var a answer
	if err := json.Unmarshal(text, &a); err != nil {
		return fmt.Errorf("status %d: %s", resp.StatusCode, text)
	}
	if len(a.Errors) > 0 {
		return fmt.Errorf("GraphQL: %s", a.Errors[0].Message)
	}
	return json.Unmarshal(a.Data, data)
}

type coffeeData struct {
	ID, Name, Image string
	Price           float64
	Ingredients     []struct {
		ID, Name, Unit string
		Quantity       int
	}
}

// TestChain holds that the whole chain answers: through frontend, public-api
// and product-api, from Postgres.
func TestChain(t *testing.T) {
	s := open(t)

	t.Run("nine coffees through the frontend", func(t *testing.T) {
		var data struct{ Coffees []coffeeData }
		ask(t, s.frontend+"/api", getCoffees, "", nil, &data)
		if len(data.Coffees) != 9 {
			t.Fatalf("got %d coffees, want 9", len(data.Coffees))
		}
		first, last := data.Coffees[0], data.Coffees[8]
		if first.Name != "HCP Aeropress" || first.Price != 200 || first.Image != "/hashicorp.png" {
			t.Errorf("first coffee: %+v", first)
		}
		if last.Name != "Waypointiato" || last.Price != 250 || len(last.Ingredients) != 2 {
			t.Errorf("last coffee: %+v", last)
		}
		latte := data.Coffees[1]
		if len(latte.Ingredients) != 3 || latte.Ingredients[2].Name != "Pumpkin Spice" ||
			latte.Ingredients[2].Quantity != 5 || latte.Ingredients[2].Unit != "g" {
			t.Errorf("ingredients of %s: %+v", latte.Name, latte.Ingredients)
		}
	})

	t.Run("one coffee and its ingredients", func(t *testing.T) {
		var data struct {
			Coffee            coffeeData
			CoffeeIngredients []struct{ Name string }
		}
		ask(t, s.publicAPI+"/api", `{ coffee(id: "7") { name price(currency: EUR) } coffeeIngredients(coffeeID: "7") { name } }`, "", nil, &data)
		if data.Coffee.Name != "Connectaccino" || data.Coffee.Price != 250 || len(data.CoffeeIngredients) != 2 {
			t.Errorf("got %+v", data)
		}
		if err := tryAsk(s.publicAPI+"/api", `{ coffee(id: "99") { name } }`, "", nil, &data); err == nil {
			t.Error("coffee 99 exists")
		}
	})

	t.Run("sign up, order, pay, sign out", func(t *testing.T) {
		auth := map[string]any{"auth": map[string]string{"username": "ada", "password": "espresso"}}
		var up struct{ SignUp struct{ Token string } }
		ask(t, s.frontend+"/api", `mutation S($auth: UserAuth!) { signUp(auth: $auth) { token userId username } }`, "", auth, &up)
		var in struct{ Login struct{ Token string } }
		ask(t, s.frontend+"/api", `mutation L($auth: UserAuth!) { login(auth: $auth) { token } }`, "", auth, &in)
		token := "Bearer " + in.Login.Token

		var placed struct {
			Order struct {
				ID    string
				Items []struct {
					Quantity int
					Coffee   coffeeData
				}
			}
		}
		ask(t, s.frontend+"/api", `mutation { order(items: [{coffee: {id: 2}, quantity: 3}]) { id items { quantity coffee { name ingredients { name } } } } }`, token, nil, &placed)
		if len(placed.Order.Items) != 1 || placed.Order.Items[0].Quantity != 3 || placed.Order.Items[0].Coffee.Name != "Packer Spiced Latte" {
			t.Errorf("placed %+v", placed)
		}
		var list struct{ Orders []struct{ ID string } }
		ask(t, s.frontend+"/api", `{ orders { id } }`, token, nil, &list)
		if len(list.Orders) != 1 || list.Orders[0].ID != placed.Order.ID {
			t.Errorf("orders %+v, placed %s", list, placed.Order.ID)
		}
		var paid struct{ Pay map[string]string }
		ask(t, s.frontend+"/api", `mutation { pay(details: {name: "Ada", type: "visa", number: "4242", expiry: "12/30", cv2: 7, amount: 10.5}) { id message card_plaintext card_ciphertext } }`, token, nil, &paid)
		if paid.Pay["card_plaintext"] != "4242" || !strings.HasPrefix(paid.Pay["card_ciphertext"], "aes-256-gcm:") {
			t.Errorf("paid %+v", paid)
		}
		var out struct{ SignOut bool }
		ask(t, s.frontend+"/api", `mutation { signOut }`, token, nil, &out)
		if err := tryAsk(s.frontend+"/api", `{ orders { id } }`, token, nil, &list); err == nil {
			t.Error("the token is still good after the sign-out")
		}
	})

	t.Run("two hundred at once", func(t *testing.T) {
		var wg sync.WaitGroup
		failures := make(chan error, 1000)
		for range 200 {
			wg.Go(func() {
				for range 5 {
					var data struct{ Coffees []coffeeData }
					err := tryAsk(s.frontend+"/api", getCoffees, "", nil, &data)
					if err == nil && len(data.Coffees) != 9 {
						err = fmt.Errorf("%d coffees", len(data.Coffees))
					}
					if err != nil {
						failures <- err
					}
				}
			})
		}
		wg.Wait()
		close(failures)
		for err := range failures {
			t.Errorf("of 1000 requests: %v", err)
		}
	})
}
