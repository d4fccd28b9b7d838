package fault

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"meshlab.dev/meshlab/scenarios"
)

// Entry is a fault of a lab.
type Entry struct {
	ID int `json:"id"` // from 1 on
	scenarios.Fault
	scenarios.FaultTimes
	Processes []string   `json:"processes,omitempty"` // that are killed or paused
	Links     []string   `json:"links,omitempty"`     // as topo.Lab.LinkNames has them, that are cut or degraded
	Until     *time.Time `json:"until,omitempty"`     // when it ends by itself; nil: it does not
	Error     string     `json:"error,omitempty"`     // why it could not be undone
}

// On tells whether the fault is on.
func (e Entry) On() bool { return e.Ended.IsZero() }

// Actor breaks what a fault strikes, and returns what mends it. That it calls
// again when it has failed. When Begin fails nothing is broken.
type Actor interface {
	Begin(ctx context.Context, s Strike) (undo func(context.Context) error, err error)
}

// undoLimit bounds the end of a fault that ends by itself.
const undoLimit = time.Minute

// kept is how many faults that have ended are remembered.
const kept = 1000

// Faults that cannot begin, or end.
var (
	ErrStruck  = errors.New("it is under a fault already")
	ErrUnknown = errors.New("the lab has no such fault")
)

// Book keeps the faults of one lab. Its methods may be called by several
// goroutines.
type Book struct {
	actor Actor

	changing sync.RWMutex // for reading: a fault begins; taken before the others

	mu   sync.Mutex
	last int
	all  []*entry // by ID
}

type entry struct {
	Entry // what may be shown of it, under the book's lock
	names []string
	timer *time.Timer

	ending sync.Mutex // one end at a time; taken before the book's lock
	undo   func(context.Context) error
}

// NewBook makes an empty book.
func NewBook(a Actor) *Book { return &Book{actor: a} }

// Begin breaks what is planned, until its time is over or End is called. Its
// error matches ErrStruck when something of it is broken already.
func (b *Book) Begin(ctx context.Context, s Strike) (Entry, error) {
	b.changing.RLock()
	defer b.changing.RUnlock()
	e := &entry{names: s.Names()}
	e.ending.Lock() // nobody ends what has not begun
	defer e.ending.Unlock()
	if err := b.enter(e, s); err != nil {
		return Entry{}, fmt.Errorf("%s: %w", s.Fault, err)
	}
	undo, err := b.actor.Begin(ctx, s)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		b.all = slices.DeleteFunc(b.all, func(o *entry) bool { return o == e })
		return Entry{}, fmt.Errorf("%s: %w", s.Fault, err)
	}
	e.undo, e.Began = undo, time.Now()
	if s.Fault.For > 0 {
		until := e.Began.Add(s.Fault.For)
		e.Until = &until
		e.timer = time.AfterFunc(s.Fault.For, func() {
			ctx, cancel := context.WithTimeout(context.Background(), undoLimit)
			defer cancel()
			_, _ = b.End(ctx, e.ID) // the entry keeps the error
		})
	}
	return e.Entry, nil
}

// enter writes a fault into the book, unless something of it is broken.
func (b *Book) enter(e *entry, s Strike) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.struck(e.names...); err != nil {
		return err
	}
	for len(b.all) >= kept && !b.all[0].On() {
		b.all = b.all[1:]
	}
	b.last++
	e.Entry = Entry{ID: b.last, Fault: s.Fault, Processes: s.Processes}
	e.Began = time.Now() // about; it is on as soon as it is in the book
	for _, l := range s.Links {
		e.Links = append(e.Links, l.Name)
	}
	b.all = append(b.all, e)
	return nil
}

// struck tells by which fault something is broken. The caller holds the book's
// lock.
func (b *Book) struck(names ...string) error {
	for _, o := range b.all {
		if !o.On() {
			continue
		}
		for _, name := range names {
			if slices.Contains(o.names, name) {
				return fmt.Errorf("%s: %w, %d (%s); `meshlab fault undo %d` ends that", name, ErrStruck, o.ID, o.Fault, o.ID)
			}
		}
	}
	return nil
}

// Change calls do, which changes something of the lab, while no fault begins.
// Its error is do's, or matches ErrStruck when that is broken.
func (b *Book) Change(name string, do func() error) error {
	b.changing.Lock()
	defer b.changing.Unlock()
	b.mu.Lock()
	err := b.struck(name)
	b.mu.Unlock()
	if err != nil {
		return err
	}
	return do()
}

// End mends what a fault has broken, and tells when it began and ended. One
// that has ended already stays as it is. When mending fails the fault stays on,
// and End may be called again. Its error matches ErrUnknown where there is no
// such fault.
func (b *Book) End(ctx context.Context, id int) (Entry, error) {
	b.mu.Lock()
	i := slices.IndexFunc(b.all, func(e *entry) bool { return e.ID == id })
	if i < 0 {
		b.mu.Unlock()
		return Entry{}, fmt.Errorf("end fault %d: %w; `meshlab fault list` has them", id, ErrUnknown)
	}
	e := b.all[i]
	b.mu.Unlock()
	e.ending.Lock()
	defer e.ending.Unlock()
	b.mu.Lock()
	if !e.On() {
		defer b.mu.Unlock()
		return e.Entry, nil
	}
	if e.undo == nil { // it has just failed to begin
		defer b.mu.Unlock()
		return Entry{}, fmt.Errorf("end fault %d: %w", id, ErrUnknown)
	}
	if e.timer != nil {
		e.timer.Stop()
	}
	b.mu.Unlock()
	err := e.undo(ctx)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		e.Error = err.Error()
		return e.Entry, fmt.Errorf("end fault %d (%s): %w", id, e.Fault, err)
	}
	e.Ended, e.Error = time.Now(), ""
	return e.Entry, nil
}

// EndAll ends all faults that are on, the last one first, and returns them.
func (b *Book) EndAll(ctx context.Context) ([]Entry, error) {
	var ended []Entry
	var errs []error
	all := b.List()
	slices.Reverse(all)
	for _, e := range all {
		if !e.On() {
			continue
		}
		e, err := b.End(ctx, e.ID)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		ended = append(ended, e)
	}
	slices.SortFunc(ended, func(x, y Entry) int { return x.ID - y.ID })
	return ended, errors.Join(errs...)
}

// List returns the faults that are on and the last that have ended, by ID.
func (b *Book) List() []Entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make([]Entry, len(b.all))
	for i, e := range b.all {
		all[i] = e.Entry
	}
	return all
}

// What names what a fault has broken, and differs from its target.
func (e Entry) What() string {
	all := slices.Concat(e.Processes, e.Links)
	if len(all) == 1 && all[0] == e.Struck() {
		return ""
	}
	return strings.Join(all, ", ")
}
