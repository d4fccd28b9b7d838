package productapi

import (
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// tokenLifetime is as long as in the original service.
const tokenLifetime = 24 * time.Hour

// signer makes and reads the tokens that users carry: JSON Web Tokens (RFC 7519)
// with HMAC-SHA256. A token is good only while the database still has it.
type signer struct {
	secret []byte
	now    func() time.Time
}

// claims are the contents of a token, with the names of the original service.
type claims struct {
	TokenID  int    `json:"token_id"`
	UserID   int    `json:"user_id"`
	Username string `json:"username"`
	jwt.RegisteredClaims
}

func (s signer) sign(tokenID, userID int, username string) (string, error) {
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, claims{
		TokenID: tokenID, UserID: userID, Username: username,
		RegisteredClaims: jwt.RegisteredClaims{ExpiresAt: jwt.NewNumericDate(s.now().Add(tokenLifetime))},
	})
	text, err := token.SignedString(s.secret)
	if err != nil {
		return "", fmt.Errorf("sign the token: %w", err)
	}
	return text, nil
}

// verify returns what a token says. Any other algorithm than HS256, a wrong
// signature and an expired token are errors.
func (s signer) verify(text string) (claims, error) {
	var c claims
	_, err := jwt.ParseWithClaims(text, &c,
		func(*jwt.Token) (any, error) { return s.secret, nil },
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}),
		jwt.WithExpirationRequired(), jwt.WithTimeFunc(s.now))
	if err != nil {
		return claims{}, fmt.Errorf("read the token: %w", err)
	}
	return c, nil
}
