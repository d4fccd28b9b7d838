package export

import (
	"fmt"
	"os"
	"path/filepath"

	"meshlab.dev/meshlab/scenarios"
)

// WriteDir writes the results into a directory, which it makes if it is not
// there, and returns the paths of the files, in their order. A file of the
// same name is replaced, others stay. Each file appears whole; when one
// cannot be written, those that this call wrote are removed again. Errors are
// those of Write, without ErrManyFiles.
func WriteDir(dir, format string, results []*scenarios.Result) (paths []string, err error) {
	_, files, err := encode(format, results)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("export as %s: %w", format, err)
	}
	for _, f := range files {
		path := filepath.Join(dir, f.name)
		if err := scenarios.WriteFile(path, f.content); err != nil {
			for _, p := range paths {
				_ = os.Remove(p) // the first error is the one that counts
			}
			return nil, fmt.Errorf("export as %s: %w", format, err)
		}
		paths = append(paths, path)
	}
	return paths, nil
}
