package productapi

import (
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func fixed() time.Time { return time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC) }

func TestToken(t *testing.T) {
	good := signer{secret: []byte("s"), now: fixed}
	text, err := good.sign(7, 3, "ada")
	if err != nil {
		t.Fatal(err)
	}
	none, err := jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims{
		"token_id": 7, "user_id": 3, "exp": fixed().Add(time.Hour).Unix(),
	}).SignedString(jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		signer signer
		text   string
		ok     bool
	}{
		{"good", good, text, true},
		{"good until the end of the day", signer{good.secret, func() time.Time { return fixed().Add(tokenLifetime - time.Second) }}, text, true},
		{"expired", signer{good.secret, func() time.Time { return fixed().Add(tokenLifetime + time.Second) }}, text, false},
		{"another secret", signer{[]byte("t"), fixed}, text, false},
		{"not signed", good, none, false},
		{"nothing", good, "", false},
		{"cut short", good, text[:len(text)-2], false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := tt.signer.verify(tt.text)
			if (err == nil) != tt.ok {
				t.Fatalf("error %v", err)
			}
			if tt.ok && (c.TokenID != 7 || c.UserID != 3 || c.Username != "ada") {
				t.Errorf("claims %+v", c)
			}
		})
	}
}

// TestWithoutDatabase holds that the service is live, not ready, and answers
// with an error and not a hang while there is no database.
func TestWithoutDatabase(t *testing.T) {
	db, err := openStore(t.Context(), "host=127.0.0.1 port=1 user=u dbname=d sslmode=disable", 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.pool.Close)
	h := newHandler(db, signer{secret: []byte("s"), now: fixed}, slog.New(slog.DiscardHandler))
	tests := []struct {
		method, path, body string
		status             int
	}{
		{"GET", "/health/livez", "", 200},
		{"GET", "/health/readyz", "", 500},
		{"GET", "/health", "", 500},
		{"GET", "/coffees", "", 500},
		{"GET", "/coffees/x", "", 404},
		{"POST", "/coffees", "{}", 401},
		{"GET", "/orders", "", 401},
		{"POST", "/signout", "", 401},
		{"POST", "/signup", "{", 400},
		{"DELETE", "/coffees", "", 405},
	}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(tt.method, tt.path, strings.NewReader(tt.body)))
			if w.Code != tt.status {
				t.Errorf("status %d, want %d: %s", w.Code, tt.status, w.Body)
			}
		})
	}
}

func TestRunBadSettings(t *testing.T) {
	env := map[string]string{"BIND_ADDRESS": "127.0.0.1:1", "DB_CONNECTION": "host=x port=many"}
	err := Run(t.Context(), func(k string) string { return env[k] }, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "read DB_CONNECTION") {
		t.Errorf("got %v", err)
	}
	env["DB_MAX_CONNECTIONS"] = "0"
	err = Run(t.Context(), func(k string) string { return env[k] }, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "DB_MAX_CONNECTIONS") {
		t.Errorf("got %v", err)
	}
}
