package payments

import (
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestPay(t *testing.T) {
	tests := []struct {
		name, method, path, body string
		status                   int
		contains                 string
	}{
		{"a payment", "POST", "/", `{"name":"A","type":"visa","number":"4111","expiry":"12/30","cvc":"123"}`, 200, `"card_plaintext":"4111"`},
		{"the other name of the code", "POST", "/", `{"number":"4111","cvv":"123"}`, 200, `"card_ciphertext":"aes-256-gcm:`},
		{"no card number", "POST", "/", `{"name":"A"}`, 400, "number is missing"},
		{"not JSON", "POST", "/", `{`, 400, "read the payment"},
		{"a number that is no text", "POST", "/", `{"number":4111}`, 400, "read the payment"},
		{"wrong method", "GET", "/", ``, 405, ""},
		{"unknown path", "POST", "/pay", `{}`, 404, ""},
		{"health", "GET", "/actuator/health", ``, 200, `{"status":"UP"}`},
	}
	h, err := NewHandler(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(tt.method, tt.path, strings.NewReader(tt.body)))
			if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.contains) {
				t.Errorf("got %d %q, want %d with %q", w.Code, w.Body, tt.status, tt.contains)
			}
		})
	}
}

// TestCiphertextOpens holds that the ciphertext is the card number under the
// service's key and bound to the payment's id, and differs each time.
func TestCiphertextOpens(t *testing.T) {
	seal, err := newCipher()
	if err != nil {
		t.Fatal(err)
	}
	h := handler{seal: seal, log: slog.New(slog.DiscardHandler)}
	pay := func() Response {
		w := httptest.NewRecorder()
		h.pay(w, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(`{"number":"4111111111111111"}`)))
		var resp Response
		if err := json.Unmarshal(w.Body.Bytes(), &resp); err != nil {
			t.Fatalf("answer %q: %v", w.Body, err)
		}
		return resp
	}
	first, second := pay(), pay()
	if first.ID == second.ID || first.CardCiphertext == second.CardCiphertext {
		t.Errorf("two payments share id or ciphertext: %+v, %+v", first, second)
	}
	sealed, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(first.CardCiphertext, ciphertextPrefix))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := seal.Open(nil, nil, sealed, []byte(first.ID))
	if err != nil || string(plain) != "4111111111111111" {
		t.Errorf("opened %q, %v", plain, err)
	}
	if _, err := seal.Open(nil, nil, sealed, []byte(second.ID)); err == nil {
		t.Error("the ciphertext opens under another payment's id")
	}
}
