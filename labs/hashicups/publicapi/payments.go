package publicapi

import (
	"context"
	"fmt"
	"net/http"
)

// The JSON of payments.
type (
	paymentRequest struct {
		Name   string `json:"name"`
		Type   string `json:"type"`
		Number string `json:"number"`
		Expiry string `json:"expiry"`
		CVC    string `json:"cvc"`
	}
	paymentAnswer struct {
		ID             string `json:"id"`
		Message        string `json:"message"`
		CardPlaintext  string `json:"card_plaintext"`
		CardCiphertext string `json:"card_ciphertext"`
	}
)

// payments calls the payment service.
type payments struct{ rest }

func (p payments) pay(ctx context.Context, r paymentRequest) (a paymentAnswer, err error) {
	return a, p.call(ctx, http.MethodPost, "/", "", r, &a)
}

func (p payments) ready(ctx context.Context) error {
	var health struct {
		Status string `json:"status"`
	}
	if err := p.call(ctx, http.MethodGet, "actuator/health", "", nil, &health); err != nil {
		return err
	}
	if health.Status != "UP" {
		return fmt.Errorf("ask payments for its health: its status is %q", health.Status)
	}
	return nil
}
