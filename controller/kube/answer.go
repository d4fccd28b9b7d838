package kube

import (
	"errors"
	"reflect"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// patience is after which an API server that does not begin to answer counts as
// away. client-go itself gives up much later: it makes eleven tries of ten
// seconds for a watch.
const patience = 15 * time.Second

var (
	errNoAnswer = errors.New("it does not answer")
	// errAskedOtherwise says that a request is refused because the API server is
	// of a version that does not know it.
	errAskedOtherwise = errors.New("it is asked otherwise")
)

// asks begins a request for a kind of objects, and returns what is to be called
// with its end. Without one for too long, that is noted already.
func (s *Source) asks(kind string, patience time.Duration) (answered func(error)) {
	var mu sync.Mutex
	over := false
	late := time.AfterFunc(patience, func() {
		mu.Lock()
		defer mu.Unlock()
		if !over {
			s.answered(kind, errNoAnswer)
		}
	})
	return func(err error) {
		late.Stop()
		mu.Lock()
		defer mu.Unlock()
		over = true
		s.answered(kind, err)
	}
}

// begun is the error of a request for a watch. An API server that cannot stream
// lists (WatchList) refuses a watch that is to begin with one: the reflector asks
// for a list then, and that tells. When nobody answers in time, client-go gives
// an empty watch in place of an error (rest.Request.Watch).
func begun(w watch.Interface, o metav1.ListOptions, err error) error {
	switch {
	case o.SendInitialEvents != nil && apierrors.IsInvalid(err):
		return errAskedOtherwise
	case err == nil && reflect.TypeOf(w) == reflect.TypeOf(watch.NewEmptyWatch()):
		return errNoAnswer
	}
	return err
}
