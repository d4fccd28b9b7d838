package publicapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// maxAnswerBytes bounds what is read of an upstream's answer.
const maxAnswerBytes = 8 << 20

// rest calls one upstream. It is safe for concurrent use.
type rest struct {
	name   string // of the upstream, for errors
	base   *url.URL
	client *http.Client
}

// call sends body as JSON (nothing when nil) with the token, and decodes the
// answer into answer: as it is when that is a *string, else from JSON. A status
// other than 200 is an error that holds the upstream's text.
func (c rest) call(ctx context.Context, method, path, token string, body, answer any) error {
	var payload io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("encode the request to %s: %w", c.name, err)
		}
		payload = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base.JoinPath(path).String(), payload)
	if err != nil {
		return fmt.Errorf("make the request to %s: %w", c.name, err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", token)
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return fmt.Errorf("call %s: %w", c.name, err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", c.name, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("call %s: status %d: %s", c.name, resp.StatusCode, strings.TrimSpace(string(text)))
	}
	if s, ok := answer.(*string); ok {
		*s = string(text)
		return nil
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("decode the answer of %s: %w", c.name, err)
	}
	return nil
}
