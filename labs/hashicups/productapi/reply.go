package productapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"meshlab.dev/meshlab/labs/builtin/service"
)

// fail answers with the status that fits err. What went wrong inside is for the
// log; the client is told what it could not have.
func (a *api) fail(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, errNotFound):
		http.Error(w, err.Error(), http.StatusNotFound)
	case errors.Is(err, errExists):
		http.Error(w, err.Error(), http.StatusConflict)
	case errors.Is(err, errInvalid):
		http.Error(w, err.Error(), http.StatusBadRequest)
	case r.Context().Err() != nil:
		a.log.Debug("the client went away", "method", r.Method, "path", r.URL.Path)
	default:
		a.log.Error("request went wrong", "method", r.Method, "path", r.URL.Path, "error", err)
		http.Error(w, "the database could not answer; the log of product-api says why", http.StatusInternalServerError)
	}
}

// decode reads the request's JSON body into value, or answers 400.
func decode(w http.ResponseWriter, r *http.Request, value any) bool {
	if err := json.NewDecoder(r.Body).Decode(value); err != nil {
		http.Error(w, "read the request's body: "+err.Error(), http.StatusBadRequest)
		return false
	}
	return true
}

// pathID reads {id}, or answers 404: as in the original, such a path is no route.
func pathID(w http.ResponseWriter, r *http.Request) (int, bool) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 32)
	if err != nil || id < 0 {
		http.NotFound(w, r)
		return 0, false
	}
	return int(id), true
}

// reply answers value, or err when there is one.
func (a *api) reply(w http.ResponseWriter, r *http.Request, value any, err error) {
	if err != nil {
		a.fail(w, r, err)
		return
	}
	service.ReplyJSON(w, http.StatusOK, value)
}
