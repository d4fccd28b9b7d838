package publicapi

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
)

// upstream is an HTTP server with fixed answers that remembers what it was asked.
type upstream struct {
	*httptest.Server
	mu   sync.Mutex
	seen []string // "METHOD path token body"
}

func newUpstream(t *testing.T, answers map[string]string) *upstream {
	t.Helper()
	u := &upstream{}
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		u.mu.Lock()
		u.seen = append(u.seen, strings.TrimSpace(r.Method+" "+r.URL.Path+" "+r.Header.Get("Authorization")+" "+string(body)))
		u.mu.Unlock()
		answer, ok := answers[r.Method+" "+r.URL.Path]
		if !ok {
			http.Error(w, "no answer prepared", http.StatusTeapot)
			return
		}
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(u.Close)
	return u
}

func (u *upstream) calls() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Sorted(slices.Values(u.seen))
}

// ask sends a query and returns the answer's data as compact JSON, or its first error.
func ask(t *testing.T, product, payment *upstream, query, token string) (data, failure string) {
	t.Helper()
	productURL, err := url.Parse(product.URL)
	if err != nil {
		t.Fatal(err)
	}
	paymentURL, err := url.Parse(payment.URL)
	if err != nil {
		t.Fatal(err)
	}
	h, err := NewHandler(productURL, paymentURL)
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(map[string]string{"query": query})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("POST", "/api", strings.NewReader(string(body)))
	r.Header.Set("Authorization", token)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var answer struct {
		Data   json.RawMessage
		Errors []struct{ Message string }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatalf("answer %q: %v", w.Body, err)
	}
	if len(answer.Errors) > 0 {
		return string(answer.Data), answer.Errors[0].Message
	}
	return string(answer.Data), ""
}

const (
	fullCoffees = `[{"id":1,"name":"A","price":200,"image":"/a.png","ingredients":[{"ingredient_id":6,"name":"Coffee","quantity":350,"unit":"ml"}]}]`
	// bareCoffees is what the original product-api sends.
	bareCoffees = `[{"id":1,"name":"A","price":200,"ingredients":[{"ingredient_id":6}]},{"id":2,"name":"B","price":350,"ingredients":[{"ingredient_id":1},{"ingredient_id":4}]}]`
)

func TestQueries(t *testing.T) {
	answers := map[string]string{
		"GET /coffees":               fullCoffees,
		"GET /coffees/1":             fullCoffees,
		"GET /coffees/9":             `[]`,
		"GET /coffees/1/ingredients": `[{"id":6,"name":"Coffee","quantity":350,"unit":"ml"}]`,
		"GET /orders":                `[{"id":5,"items":[{"coffee":{"id":1,"name":"A","ingredients":null},"quantity":2}]}]`,
		"GET /orders/5":              `{"id":5,"items":[]}`,
		"GET /orders/6":              `{}`,
		"POST /orders":               `{"id":7,"items":[{"coffee":{"id":1,"name":"A"},"quantity":3}]}`,
		"POST /signup":               `{"UserID":3,"Username":"ada","token":"tok"}`,
		"POST /signin":               `{"user_id":3,"username":"ada","token":"tok"}`,
		"POST /signout":              `Signed out user`,
		"POST /":                     `{"id":"x","message":"m","card_plaintext":"4","card_ciphertext":"c"}`,
	}
	tests := []struct {
		name, query, token string
		data, failure      string
		calls              []string
	}{
		{"version", `{ version }`, "", `{"version":"1"}`, "", nil},
		{"coffees with ingredients take one call", `{ coffees { id name price(currency: GBP) ingredients { id name quantity unit } } }`, "",
			`{"coffees":[{"id":"1","name":"A","price":200,"ingredients":[{"id":"6","name":"Coffee","quantity":350,"unit":"ml"}]}]}`, "", []string{"GET /coffees"}},
		{"one coffee", `{ coffee(id: "1") { name image } }`, "", `{"coffee":{"name":"A","image":"/a.png"}}`, "", []string{"GET /coffees/1"}},
		{"no such coffee", `{ coffee(id: "9") { name } }`, "", `{"coffee":null}`, "there is no coffee with this id", []string{"GET /coffees/9"}},
		{"an id that leads elsewhere", `{ coffee(id: "../orders") { name } }`, "", `{"coffee":null}`, "not a whole number", nil},
		{"ingredients", `{ coffeeIngredients(coffeeID: "1") { id name quantity unit } }`, "",
			`{"coffeeIngredients":[{"id":"6","name":"Coffee","quantity":350,"unit":"ml"}]}`, "", []string{"GET /coffees/1/ingredients"}},
		{"orders", `{ orders { id items { quantity coffee { name } } } }`, "Bearer tok",
			`{"orders":[{"id":"5","items":[{"quantity":2,"coffee":{"name":"A"}}]}]}`, "", []string{"GET /orders tok"}},
		{"orders without a token", `{ orders { id } }`, "", `{"orders":null}`, "Authorization header is missing", nil},
		{"an order", `{ order(id: "5") { id } }`, "tok", `{"order":{"id":"5"}}`, "", []string{"GET /orders/5 tok"}},
		{"no such order", `{ order(id: "6") { id } }`, "tok", `{"order":null}`, "there is no order", []string{"GET /orders/6 tok"}},
		{"placing an order", `mutation { order(items: [{coffee: {id: "1"}, quantity: 3}]) { id items { quantity } } }`, "tok",
			`{"order":{"id":"7","items":[{"quantity":3}]}}`, "", []string{`POST /orders tok [{"coffee":{"id":1},"quantity":3}]`}},
		{"placing nothing", `mutation { order(items: []) { id } }`, "tok", `{"order":null}`, "at least one item", nil},
		{"sign-up at the original", `mutation { signUp(auth: {username: "ada", password: "p"}) { userId username token } }`, "",
			`{"signUp":{"userId":3,"username":"ada","token":"tok"}}`, "", []string{`POST /signup  {"username":"ada","password":"p"}`}},
		{"log-in", `mutation { login(auth: {username: "ada", password: "p"}) { userId token } }`, "",
			`{"login":{"userId":3,"token":"tok"}}`, "", []string{`POST /signin  {"username":"ada","password":"p"}`}},
		{"sign-out", `mutation { signOut }`, "tok", `{"signOut":true}`, "", []string{"POST /signout tok"}},
		{"payment", `mutation { pay(details: {name: "A", type: "v", number: "4", expiry: "1", cv2: 7, amount: 1}) { id message card_plaintext card_ciphertext } }`, "",
			`{"pay":{"id":"x","message":"m","card_plaintext":"4","card_ciphertext":"c"}}`, "",
			[]string{`POST /  {"name":"A","type":"v","number":"4","expiry":"1","cvc":"007"}`}},
		{"a field that is not there", `{ teas { id } }`, "", ``, `Cannot query field "teas"`, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			up := newUpstream(t, answers)
			data, failure := ask(t, up, up, tt.query, tt.token)
			if data != tt.data {
				t.Errorf("data %s\nwant %s", data, tt.data)
			}
			if (failure == "") != (tt.failure == "") || !strings.Contains(failure, tt.failure) {
				t.Errorf("error %q, want one with %q", failure, tt.failure)
			}
			if got := up.calls(); !slices.Equal(got, tt.calls) {
				t.Errorf("calls %q, want %q", got, tt.calls)
			}
		})
	}
}

// TestBareIngredients holds how ingredients are completed over the original
// product-api, which sends ids only: not for the ids alone, and else with one
// call for each coffee.
func TestBareIngredients(t *testing.T) {
	answers := map[string]string{
		"GET /coffees":               bareCoffees,
		"GET /coffees/1/ingredients": `[{"id":6,"name":"Coffee","quantity":350,"unit":"ml"}]`,
		"GET /coffees/2/ingredients": `[{"id":1,"name":"Espresso","quantity":40,"unit":"ml"},{"id":4,"name":"Spice","quantity":5,"unit":"g"}]`,
	}
	up := newUpstream(t, answers)
	if _, failure := ask(t, up, up, `{ coffees { ingredients { id } } }`, ""); failure != "" || len(up.calls()) != 1 {
		t.Errorf("ids: %q, calls %q", failure, up.calls())
	}
	up = newUpstream(t, answers)
	data, failure := ask(t, up, up, `{ coffees { ingredients { id name quantity unit } } }`, "")
	want := `{"coffees":[{"ingredients":[{"id":"6","name":"Coffee","quantity":350,"unit":"ml"}]},` +
		`{"ingredients":[{"id":"1","name":"Espresso","quantity":40,"unit":"ml"},{"id":"4","name":"Spice","quantity":5,"unit":"g"}]}]}`
	if data != want || failure != "" {
		t.Errorf("got %s, %q", data, failure)
	}
	calls := []string{"GET /coffees", "GET /coffees/1/ingredients", "GET /coffees/2/ingredients"}
	if got := up.calls(); !slices.Equal(got, calls) {
		t.Errorf("calls %q", got)
	}
}

func TestHealth(t *testing.T) {
	up := func(status string) map[string]string {
		return map[string]string{"GET /health/readyz": "ok", "GET /actuator/health": fmt.Sprintf(`{"status":%q}`, status)}
	}
	tests := []struct {
		name             string
		product, payment map[string]string
		status           int
		contains         string
	}{
		{"both up", up("UP"), up("UP"), 200, "ok"},
		{"product-api down", nil, up("UP"), 500, "product-api"},
		{"payments down", up("UP"), up("DOWN"), 500, `status is "DOWN"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			product, err := url.Parse(newUpstream(t, tt.product).URL)
			if err != nil {
				t.Fatal(err)
			}
			payment, err := url.Parse(newUpstream(t, tt.payment).URL)
			if err != nil {
				t.Fatal(err)
			}
			h, err := NewHandler(product, payment)
			if err != nil {
				t.Fatal(err)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest("GET", "/health", nil))
			if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.contains) {
				t.Errorf("got %d %q", w.Code, w.Body)
			}
		})
	}
}
