package scenarios

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"time"
)

// What can be wrong with a file that should hold a result document.
var (
	ErrTruncated = errors.New("the document ends in the middle: it was cut off, or is still being copied")
	ErrForeign   = errors.New("this is not a result document of meshlab")
	ErrTooNew    = errors.New("the document was written by a newer meshlab: update meshlab to read it")
)

// LatestFile points to the newest document of a folder of results.
const LatestFile = "latest.json"

//go:embed result.schema.json
var resultSchema []byte

// ResultSchema returns the JSON Schema (draft 2020-12) of the result document.
func ResultSchema() []byte { return bytes.Clone(resultSchema) }

// NewID names a run that started at the given time. Four random bytes, which
// the caller draws, keep two runs of the same second apart.
func NewID(started time.Time, random [4]byte) string {
	return fmt.Sprintf("%s-%x", started.UTC().Format("20060102T150405Z"), random)
}

// Write validates the document and writes it to path as indented JSON, as
// WriteFile does. Lists of r that are nil become empty ones, as the schema
// wants them.
func Write(path string, r *Result) error {
	if err := r.Validate(); err != nil {
		return fmt.Errorf("write results to %s: %w", path, err)
	}
	if r.SchemaVersion != SchemaVersion {
		return fmt.Errorf("write results to %s: schema_version %d: this meshlab writes %d", path, r.SchemaVersion, SchemaVersion)
	}
	fillLists(reflect.ValueOf(r).Elem())
	body, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return fmt.Errorf("encode results: %w", err)
	}
	return WriteFile(path, append(body, '\n'))
}

// fillLists makes empty lists of those that are nil and would be written as
// null.
func fillLists(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			fillLists(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			fillLists(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f, tag := v.Field(i), v.Type().Field(i).Tag.Get("json")
			if f.Kind() == reflect.Slice && f.Type().Elem().Kind() != reflect.Uint8 && f.IsNil() && !strings.Contains(tag, ",omit") && f.CanSet() {
				f.Set(reflect.MakeSlice(f.Type(), 0, 0))
			}
			fillLists(f)
		}
	}
}

// ReadFile reads and validates the document at path; see Read.
func ReadFile(path string) (*Result, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read results: %w", err)
	}
	defer f.Close()
	r, err := Read(f)
	if errors.Is(err, syscall.EISDIR) {
		newest := filepath.Join(path, LatestFile)
		if _, err := os.Stat(newest); err == nil {
			return nil, fmt.Errorf("%s is a folder; its newest results are %s", path, newest)
		}
		return nil, fmt.Errorf("%s is a folder; name a file of results", path)
	}
	if err != nil {
		return nil, fmt.Errorf("read results from %s: %w", path, err)
	}
	return r, nil
}

// Read reads one document and validates it. Its errors match ErrTruncated,
// ErrForeign or ErrTooNew where one of these is the cause; keys that this
// version does not know are passed over.
func Read(r io.Reader) (*Result, error) {
	body, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, fmt.Errorf("%w (it is empty)", ErrTruncated)
	}
	// The version first, alone: a newer document may have another shape.
	var head struct {
		SchemaVersion *int `json:"schema_version"`
	}
	if err := decode(body, &head); err != nil {
		return nil, err
	}
	switch v := head.SchemaVersion; {
	case v == nil:
		return nil, fmt.Errorf("%w: it has no schema_version", ErrForeign)
	case *v > SchemaVersion:
		return nil, fmt.Errorf("%w (schema_version %d, this one reads up to %d)", ErrTooNew, *v, SchemaVersion)
	case *v < 1:
		return nil, fmt.Errorf("%w: schema_version is %d", ErrForeign, *v)
	}
	var doc Result
	if err := decode(body, &doc); err != nil {
		return nil, err
	}
	if err := doc.Validate(); err != nil {
		return nil, fmt.Errorf("the document contradicts itself: %w", err)
	}
	return &doc, nil
}

// decode reads all of body as one JSON value.
func decode(body []byte, into any) error {
	err := json.Unmarshal(body, into)
	if err == nil {
		return nil
	}
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		if syntax.Offset >= int64(len(bytes.TrimRight(body, " \t\r\n"))) {
			return fmt.Errorf("%w (after %d bytes)", ErrTruncated, len(body))
		}
		return fmt.Errorf("%w: byte %d: %w", ErrForeign, syntax.Offset, err)
	}
	return fmt.Errorf("%w: %w", ErrForeign, err)
}
