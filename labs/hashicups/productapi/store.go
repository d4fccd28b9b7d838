package productapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Sentinels of the store, for the HTTP status.
var (
	errNotFound = errors.New("not found")
	errExists   = errors.New("exists already")
	errInvalid  = errors.New("a text holds a character that the database cannot store")
)

// SQLSTATE codes (PostgreSQL, appendix A).
const (
	foreignKeyViolation = "23503"
	uniqueViolation     = "23505"
	valueOutOfRange     = "22003"
	noSuchCharacter     = "22021" // a zero byte
)

// store is the database behind the service. It is safe for concurrent use.
type store struct {
	pool *pgxpool.Pool
}

// openStore makes the pool; it does not connect yet.
func openStore(ctx context.Context, connection string, maxConns int) (*store, error) {
	cfg, err := pgxpool.ParseConfig(connection)
	if err != nil {
		return nil, fmt.Errorf("read DB_CONNECTION: %w", err)
	}
	cfg.MaxConns = int32(maxConns) // bounded by the settings
	cfg.ConnConfig.ConnectTimeout = 5 * time.Second
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("make the database pool: %w", err)
	}
	return &store{pool: pool}, nil
}

// awaitReady tries the database until it answers or ctx ends, pausing longer
// after each try, from 50 ms to 500 ms, and says in the log why it waits.
func (s *store) awaitReady(ctx context.Context, log *slog.Logger) {
	pause := 50 * time.Millisecond
	began := time.Now()
	for try := 1; ; try++ {
		err := s.pool.Ping(ctx)
		if err == nil {
			log.Info("database answers", "tries", try, "took", time.Since(began).Round(time.Millisecond))
			return
		}
		if ctx.Err() != nil {
			return
		}
		log.Warn("waiting for the database", "try", try, "again_in", pause, "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, 500*time.Millisecond)
	}
}

// inTx runs do in a transaction, which is rolled back when do fails.
func (s *store) inTx(ctx context.Context, do func(pgx.Tx) error) error {
	return classify(pgx.BeginFunc(ctx, s.pool, do))
}

// classify turns what the database refuses into the store's sentinels.
func classify(err error) error {
	var pg *pgconn.PgError
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return errNotFound
	case !errors.As(err, &pg):
		return err
	case pg.Code == uniqueViolation:
		return errExists
	case pg.Code == noSuchCharacter:
		return errInvalid
	case pg.Code == foreignKeyViolation, pg.Code == valueOutOfRange:
		return fmt.Errorf("%w: %s", errNotFound, pg.Message)
	}
	return err
}
