package service

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// ReplyJSON answers with status and value as JSON. A value that JSON cannot
// hold is a mistake of the caller and answered with status 500.
func ReplyJSON(w http.ResponseWriter, status int, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		http.Error(w, "encode the answer: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client went away: nobody is left to tell
}

// ReplyText answers with status 200 and a plain text.
func ReplyText(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	_, _ = w.Write([]byte(text)) // as in ReplyJSON
}
