package productapi

import (
	"context"
	"fmt"
)

// createUser stores a user with a hashed password. It returns errExists for a
// name that is taken.
func (s *store) createUser(ctx context.Context, username string, hash []byte) (userID int, err error) {
	err = s.pool.QueryRow(ctx, `INSERT INTO users (username, password, created_at, updated_at)
		VALUES ($1, $2, now(), now()) RETURNING id`, username, string(hash)).Scan(&userID)
	if err != nil {
		return 0, fmt.Errorf("store user %s: %w", username, classify(err))
	}
	return userID, nil
}

// user returns a user's id and hashed password, or errNotFound.
func (s *store) user(ctx context.Context, username string) (userID int, hash []byte, err error) {
	var text string
	err = s.pool.QueryRow(ctx, `SELECT id, password FROM users WHERE username = $1 AND deleted_at IS NULL`,
		username).Scan(&userID, &text)
	if err != nil {
		return 0, nil, fmt.Errorf("read user %s: %w", username, classify(err))
	}
	return userID, []byte(text), nil
}

// createToken records a token of the user and returns its id.
func (s *store) createToken(ctx context.Context, userID int) (tokenID int, err error) {
	err = s.pool.QueryRow(ctx, `INSERT INTO tokens (user_id, created_at) VALUES ($1, now()) RETURNING id`, userID).Scan(&tokenID)
	if err != nil {
		return 0, fmt.Errorf("store the token: %w", classify(err))
	}
	return tokenID, nil
}

// checkToken returns errNotFound unless the token is the user's and not revoked.
func (s *store) checkToken(ctx context.Context, tokenID, userID int) error {
	var one int
	err := s.pool.QueryRow(ctx, `SELECT 1 FROM tokens WHERE id = $1 AND user_id = $2 AND deleted_at IS NULL`,
		tokenID, userID).Scan(&one)
	if err != nil {
		return fmt.Errorf("look up the token: %w", classify(err))
	}
	return nil
}

// revokeToken makes a token worthless. It is idempotent.
func (s *store) revokeToken(ctx context.Context, tokenID, userID int) error {
	_, err := s.pool.Exec(ctx, `UPDATE tokens SET deleted_at = now()
		WHERE id = $1 AND user_id = $2 AND deleted_at IS NULL`, tokenID, userID)
	if err != nil {
		return fmt.Errorf("revoke the token: %w", err)
	}
	return nil
}
