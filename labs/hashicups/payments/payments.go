// Package payments is the payment service of HashiCups: it takes card details
// over REST and gives the card number back, in the clear and encrypted, so that
// a demonstration can show both. It stores nothing and charges nobody.
//
// The key is made when the service starts and never leaves it: what it
// encrypted cannot be read by anybody, another instance included.
package payments

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/google/uuid"

	"meshlab.dev/meshlab/labs/builtin/service"
)

// Request is the body of a payment.
type Request struct {
	Name   string `json:"name"`
	Type   string `json:"type"`
	Number string `json:"number"` // must not be empty
	Expiry string `json:"expiry"`
	CVC    string `json:"cvc"`
	CVV    string `json:"cvv"` // another name of CVC
}

// Response is the answer to a payment.
type Response struct {
	ID             string `json:"id"` // a UUID
	Message        string `json:"message"`
	CardPlaintext  string `json:"card_plaintext"`
	CardCiphertext string `json:"card_ciphertext"` // "aes-256-gcm:" and base64 of nonce and sealed number
}

const (
	keyBytes         = 32 // AES-256
	ciphertextPrefix = "aes-256-gcm:"
	message          = "Payment accepted. This is a demonstration: nothing was charged, and a real service would never send the card back."
)

// Run serves until ctx ends. It reads BIND_ADDRESS.
func Run(ctx context.Context, env func(string) string, log *slog.Logger) error {
	s := service.NewSettings(env)
	address := s.Address("BIND_ADDRESS")
	if err := s.Err(); err != nil {
		return err
	}
	handler, err := NewHandler(log)
	if err != nil {
		return err
	}
	return service.Server{Address: address, Handler: handler, Log: log}.Run(ctx)
}

// NewHandler makes a key and serves payments with it.
func NewHandler(log *slog.Logger) (http.Handler, error) {
	seal, err := newCipher()
	if err != nil {
		return nil, err
	}
	h := handler{seal: seal, log: log}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /{$}", h.pay)
	mux.HandleFunc("GET /actuator/health", func(w http.ResponseWriter, _ *http.Request) {
		service.ReplyJSON(w, http.StatusOK, map[string]string{"status": "UP"})
	})
	return mux, nil
}

func newCipher() (cipher.AEAD, error) {
	key := make([]byte, keyBytes)
	_, _ = rand.Read(key) // never fails: it ends the process instead (crypto/rand)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("make the card cipher: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("make the card cipher: %w", err)
	}
	return aead, nil
}

type handler struct {
	seal cipher.AEAD
	log  *slog.Logger
}

// pay answers one payment. The log never holds a card number.
func (h handler) pay(w http.ResponseWriter, r *http.Request) {
	var req Request
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		http.Error(w, "read the payment: "+err.Error(), http.StatusBadRequest)
		return
	}
	if req.Number == "" {
		http.Error(w, "read the payment: number is missing", http.StatusBadRequest)
		return
	}
	id := uuid.NewString()
	// The payment's id is authenticated along: a ciphertext moved to another
	// payment does not open.
	sealed := h.seal.Seal(nil, nil, []byte(req.Number), []byte(id))
	h.log.Debug("payment", "id", id, "type", req.Type)
	service.ReplyJSON(w, http.StatusOK, Response{
		ID:             id,
		Message:        message,
		CardPlaintext:  req.Number,
		CardCiphertext: ciphertextPrefix + base64.StdEncoding.EncodeToString(sealed),
	})
}
