package image

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// Registry is how a registry is reached.
type Registry struct {
	Login     authn.Keychain
	PlainHTTP bool                    // without TLS. Those of this machine are asked without TLS anyway
	Progress  func(sent, bytes int64) // may be nil; called from one goroutine
	UserAgent string
}

// Pushed says where an image is.
type Pushed struct {
	Reference string `json:"reference"` // REGISTRY/NAME:TAG
	Digest    string `json:"digest"`
	Found     bool   `json:"found"` // it was there already, nothing was sent
}

// PushError says what a registry has refused, and what to do about it.
type PushError struct {
	Registry, Advice string
	Err              error
}

func (e *PushError) Error() string {
	text := fmt.Sprintf("push to %s: %v", e.Registry, e.Err)
	if e.Advice != "" {
		text += "; " + e.Advice
	}
	return text
}

func (e *PushError) Unwrap() error { return e.Err }

// Push brings the image into a registry under a name, as REGISTRY/NAME:TAG. An
// image of this digest that is there under this name is left as it is. Errors
// match ErrReference, or are *PushError, or ctx's.
func (i *Image) Push(ctx context.Context, ref string, r Registry) (Pushed, error) {
	var options []name.Option
	if r.PlainHTTP {
		options = append(options, name.Insecure)
	}
	tag, err := i.parse(ref, options...)
	if err != nil {
		return Pushed{}, err
	}
	p := Pushed{Reference: tag.String(), Digest: i.Hash()}
	with := []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(r.Login), remote.WithUserAgent(r.UserAgent)}
	there, err := remote.Head(tag, with...)
	if err == nil && there.Digest == i.hash {
		p.Found = true
		return p, nil
	}
	if refused(err) {
		return Pushed{}, problem(ctx, tag, err)
	}
	updates, told := make(chan v1.Update, 100), make(chan struct{})
	go func() {
		defer close(told)
		for u := range updates {
			if r.Progress != nil && u.Error == nil {
				r.Progress(u.Complete, u.Total)
			}
		}
	}()
	err = remote.Write(tag, i.Image, append(with, remote.WithProgress(updates))...) // closes updates
	<-told
	if err != nil {
		return Pushed{}, problem(ctx, tag, err)
	}
	return p, nil
}

// refused tells that a registry wants another login: asked for what is not
// there, some say so to all others.
func refused(err error) bool {
	var e *transport.Error
	return errors.As(err, &e) && e.StatusCode == http.StatusUnauthorized
}

func problem(ctx context.Context, tag name.Tag, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("push to %s: %w", tag.RegistryStr(), context.Cause(ctx))
	}
	p := &PushError{Registry: tag.RegistryStr(), Err: err}
	azure := strings.HasSuffix(p.Registry, AzureSuffix)
	var e *transport.Error
	switch {
	case errors.As(err, &e) && e.StatusCode == http.StatusUnauthorized && azure:
		p.Advice = "it wants a login: az login, or a service principal in ARM_CLIENT_ID and ARM_CLIENT_SECRET"
	case errors.As(err, &e) && e.StatusCode == http.StatusUnauthorized:
		p.Advice = "it wants a login: docker login " + p.Registry
	case errors.As(err, &e) && e.StatusCode == http.StatusForbidden && azure:
		p.Advice = "this login may not push: it needs the role AcrPush or Contributor on the registry"
	case errors.As(err, &e) && e.StatusCode == http.StatusForbidden:
		p.Advice = "this login may not push to " + tag.RepositoryStr()
	case errors.As(err, &e) && e.StatusCode == http.StatusNotFound:
		p.Advice = "is " + tag.String() + " the right name?"
	case errors.As(err, &e) && e.StatusCode >= 500:
		p.Advice = "the registry itself has failed; run it again, what has arrived is not sent twice"
	case strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"): // net/http has no value for it
		p.Advice = "it has no TLS: --plain-http, if you trust the way to it"
	case !errors.As(err, &e):
		p.Advice = "run it again, what has arrived is not sent twice"
	}
	return p
}

// AzureSuffix ends the names of Azure's registries.
const AzureSuffix = ".azurecr.io"
