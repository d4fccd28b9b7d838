package productapi

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"meshlab.dev/meshlab/labs/builtin/service"
)

const (
	defaultMaxConns = 32
	// defaultSecret signs tokens unless JWT_SECRET is set. It is public, as the
	// original's is, so that several instances accept each other's tokens.
	defaultSecret = "hashicups-lab"
)

// Run serves until ctx ends. It reads BIND_ADDRESS; DB_CONNECTION, as a libpq
// string ("host=... port=... user=... password=... dbname=... sslmode=disable")
// or URL; and optionally DB_MAX_CONNECTIONS (32) and JWT_SECRET. It serves at
// once and is live; it is ready when the database answers, for which it waits as
// long as it takes.
func Run(ctx context.Context, env func(string) string, log *slog.Logger) error {
	s := service.NewSettings(env)
	address := s.Address("BIND_ADDRESS")
	connection := s.Required("DB_CONNECTION", "host=192.168.1.250 port=9567 user=postgres password=password dbname=products sslmode=disable")
	maxConns := s.Int("DB_MAX_CONNECTIONS", defaultMaxConns, 1, 1000)
	secret := s.String("JWT_SECRET", defaultSecret)
	if err := s.Err(); err != nil {
		return err
	}
	db, err := openStore(ctx, connection, maxConns)
	if err != nil {
		return err
	}
	defer db.pool.Close()

	waiting, stop := context.WithCancel(ctx)
	waited := make(chan struct{})
	go func() {
		defer close(waited)
		db.awaitReady(waiting, log)
	}()
	defer func() { stop(); <-waited }()

	handler := newHandler(db, signer{secret: []byte(secret), now: time.Now}, log)
	return service.Server{Address: address, Handler: handler, Log: log}.Run(ctx)
}

// api serves the routes.
type api struct {
	db     *store
	signer signer
	log    *slog.Logger
}

func newHandler(db *store, s signer, log *slog.Logger) http.Handler {
	a := &api{db: db, signer: s, log: log}
	mux := http.NewServeMux()

	mux.HandleFunc("GET /health", a.ready)
	mux.HandleFunc("GET /health/readyz", a.ready)
	mux.HandleFunc("GET /health/livez", func(w http.ResponseWriter, _ *http.Request) { service.ReplyText(w, "ok") })

	mux.HandleFunc("GET /coffees", a.listCoffees)
	mux.HandleFunc("GET /coffees/{id}", a.showCoffee)
	mux.HandleFunc("GET /coffees/{id}/ingredients", a.listIngredients)
	mux.HandleFunc("POST /coffees", a.authorized(a.createCoffee))
	mux.HandleFunc("POST /coffees/{id}/ingredients", a.authorized(a.putIngredient))

	mux.HandleFunc("POST /signup", a.signUp)
	mux.HandleFunc("POST /signin", a.signIn)
	mux.HandleFunc("POST /signout", a.signOut)

	mux.HandleFunc("GET /orders", a.authorized(a.listOrders))
	mux.HandleFunc("POST /orders", a.authorized(a.createOrder))
	mux.HandleFunc("GET /orders/{id}", a.authorized(a.showOrder))
	mux.HandleFunc("PUT /orders/{id}", a.authorized(a.updateOrder))
	mux.HandleFunc("DELETE /orders/{id}", a.authorized(a.deleteOrder))
	return mux
}

// readyTimeout bounds a readiness check, so that a database that swallows
// packets makes the check fail and not hang.
const readyTimeout = 2 * time.Second

func (a *api) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
	defer cancel()
	if err := a.db.pool.Ping(ctx); err != nil {
		http.Error(w, "error: the database does not answer: "+err.Error(), http.StatusInternalServerError)
		return
	}
	service.ReplyText(w, "ok")
}
