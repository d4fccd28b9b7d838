package productapi

import (
	"context"
	"errors"
	"net/http"

	"golang.org/x/crypto/bcrypt"

	"meshlab.dev/meshlab/labs/builtin/service"
)

// maxPasswordBytes is what bcrypt hashes; it refuses more.
const maxPasswordBytes = 72

// authorized lets a request through whose Authorization header holds a token
// that this service signed and that nobody has revoked; else it answers 401.
func (a *api) authorized(next func(userID int, w http.ResponseWriter, r *http.Request)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := a.signer.verify(r.Header.Get("Authorization"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		err = a.db.checkToken(r.Context(), c.TokenID, c.UserID)
		if errors.Is(err, errNotFound) {
			http.Error(w, "the token is not valid any more: sign in again", http.StatusUnauthorized)
			return
		}
		if err != nil {
			a.fail(w, r, err)
			return
		}
		next(c.UserID, w, r)
	}
}

func (a *api) signUp(w http.ResponseWriter, r *http.Request) {
	var c Credentials
	if !decode(w, r, &c) {
		return
	}
	switch {
	case c.Username == "" || c.Password == "":
		http.Error(w, "sign up: username or password is missing", http.StatusBadRequest)
		return
	case len(c.Username) > maxTextBytes || len(c.Password) > maxPasswordBytes:
		http.Error(w, "sign up: a username holds at most 255 bytes, a password 72", http.StatusBadRequest)
		return
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(c.Password), bcrypt.DefaultCost)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	userID, err := a.db.createUser(r.Context(), c.Username, hash)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	session, err := a.openSession(r.Context(), userID, c.Username)
	a.reply(w, r, session, err)
}

func (a *api) signIn(w http.ResponseWriter, r *http.Request) {
	var c Credentials
	if !decode(w, r, &c) {
		return
	}
	userID, hash, err := a.db.user(r.Context(), c.Username)
	if err != nil && !errors.Is(err, errNotFound) {
		a.fail(w, r, err)
		return
	}
	if err != nil || bcrypt.CompareHashAndPassword(hash, []byte(c.Password)) != nil {
		http.Error(w, "Invalid Credentials", http.StatusUnauthorized)
		return
	}
	session, err := a.openSession(r.Context(), userID, c.Username)
	a.reply(w, r, session, err)
}

func (a *api) signOut(w http.ResponseWriter, r *http.Request) {
	c, err := a.signer.verify(r.Header.Get("Authorization"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	if err := a.db.revokeToken(r.Context(), c.TokenID, c.UserID); err != nil {
		a.fail(w, r, err)
		return
	}
	service.ReplyText(w, "Signed out user") // the published client compares this text
}

func (a *api) openSession(ctx context.Context, userID int, username string) (Session, error) {
	tokenID, err := a.db.createToken(ctx, userID)
	if err != nil {
		return Session{}, err
	}
	token, err := a.signer.sign(tokenID, userID, username)
	if err != nil {
		return Session{}, err
	}
	return Session{UserID: userID, SameID: userID, Username: username, Token: token}, nil
}
