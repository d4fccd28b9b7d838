package publicapi

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	graphql "github.com/graph-gophers/graphql-go"
	"github.com/graph-gophers/graphql-go/relay"

	"meshlab.dev/meshlab/labs/builtin/service"
)

//go:embed schema.graphql
var schemaText string

const (
	// maxParallel bounds the resolvers, and thereby the calls, of one query.
	maxParallel = 10
	// maxDepth is twice that of the deepest useful query, and enough for introspection.
	maxDepth = 15
	// maxQueryBytes bounds the text of a query.
	maxQueryBytes = 64 << 10
)

// Run serves until ctx ends. It reads BIND_ADDRESS, PRODUCT_API_URI and
// PAYMENT_API_URI.
func Run(ctx context.Context, env func(string) string, log *slog.Logger) error {
	s := service.NewSettings(env)
	address := s.Address("BIND_ADDRESS")
	productURI := s.URL("PRODUCT_API_URI")
	paymentURI := s.URL("PAYMENT_API_URI")
	if err := s.Err(); err != nil {
		return err
	}
	handler, err := NewHandler(productURI, paymentURI)
	if err != nil {
		return err
	}
	return service.Server{Address: address, Handler: handler, Log: log}.Run(ctx)
}

// NewHandler serves GraphQL over the two upstreams.
func NewHandler(productAPI, payment *url.URL) (http.Handler, error) {
	client := service.NewClient()
	pr := products{rest{name: "product-api", base: productAPI, client: client}}
	pa := payments{rest{name: "payments", base: payment, client: client}}
	schema, err := graphql.ParseSchema(schemaText, &root{&query{pr}, &mutation{pr, pa}},
		graphql.UseFieldResolvers(), graphql.MaxParallelism(maxParallel),
		graphql.MaxDepth(maxDepth), graphql.MaxQueryLength(maxQueryBytes))
	if err != nil {
		return nil, fmt.Errorf("read the GraphQL schema: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("POST /api", withToken(&relay.Handler{Schema: schema}))
	mux.HandleFunc("GET /health", health(pr, pa))
	return mux, nil
}

// tokenKey is the context key of the caller's token.
type tokenKey struct{}

// withToken carries the Authorization header's token to the resolvers.
func withToken(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), tokenKey{}, token)))
	})
}

// tokenOf returns the caller's token, or an error when there is none.
func tokenOf(ctx context.Context) (string, error) {
	token, _ := ctx.Value(tokenKey{}).(string)
	if token == "" {
		return "", errors.New("the Authorization header is missing: log in first, and send the token in it")
	}
	return token, nil
}

// healthTimeout bounds the question to each upstream.
const healthTimeout = 3 * time.Second

// health answers "ok" when both upstreams are, else 500 and which are not.
func health(pr products, pa payments) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), healthTimeout)
		defer cancel()
		payment := make(chan error, 1)
		go func() { payment <- pa.ready(ctx) }()
		if err := errors.Join(pr.ready(ctx), <-payment); err != nil {
			http.Error(w, "error: "+err.Error(), http.StatusInternalServerError)
			return
		}
		service.ReplyText(w, "ok")
	}
}
