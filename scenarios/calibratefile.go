package scenarios

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrNotCalibrated tells that there is no calibration of this machine.
var ErrNotCalibrated = errors.New("this machine is not calibrated")

// ErrHasVerdicts tells that a stored calibration has verdicts, and the one to take
// its place has too few pairs for any.
var ErrHasVerdicts = errors.New("the stored calibration has verdicts, and this one has none yet")

// StoreCalibration writes the calibration into the folder, which is made if
// it is not there, in place of an earlier one with the same fingerprint. The
// file appears whole or not at all. It returns ErrHasVerdicts, and leaves the
// earlier one, when that has verdicts and c has none.
func StoreCalibration(dir string, c *Calibration) error {
	if err := c.validate(); err != nil {
		return fmt.Errorf("store calibration: %w", err)
	}
	if c.Verdicts == 0 {
		if was, err := LoadCalibration(dir, c.Fingerprint); err == nil && was.Verdicts > 0 {
			return fmt.Errorf("store calibration: %w", ErrHasVerdicts)
		}
	}
	body, err := json.MarshalIndent(c, "", " ")
	if err != nil {
		return fmt.Errorf("encode calibration: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("store calibration: %w", err)
	}
	if err := WriteFile(calibrationPath(dir, c.Fingerprint), append(body, '\n')); err != nil {
		return fmt.Errorf("store calibration: %w", err)
	}
	return nil
}

// LoadCalibration reads the calibration of the machine with that fingerprint
// (Environment.Sum). It returns ErrNotCalibrated when the folder has none, and
// another error when its file is damaged.
func LoadCalibration(dir, fingerprint string) (*Calibration, error) {
	if !isFingerprint(fingerprint) {
		return nil, fmt.Errorf("load calibration: fingerprint %q: want %d hexadecimal digits", fingerprint, fingerprintDigits)
	}
	path := calibrationPath(dir, fingerprint)
	body, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("load calibration %s: %w", fingerprint, ErrNotCalibrated)
	}
	if err != nil {
		return nil, fmt.Errorf("load calibration: %w", err)
	}
	c, err := parseCalibration(body)
	if err == nil && c.Fingerprint != fingerprint {
		err = fmt.Errorf("it is of the machine %s", c.Fingerprint)
	}
	if err != nil {
		return nil, fmt.Errorf("load calibration from %s: %w", path, err)
	}
	return c, nil
}

func parseCalibration(body []byte) (*Calibration, error) {
	var c Calibration
	if err := json.Unmarshal(body, &c); err != nil {
		return nil, err
	}
	if err := c.validate(); err != nil {
		return nil, err
	}
	return &c, nil
}

func calibrationPath(dir, fingerprint string) string {
	return filepath.Join(dir, "calibration-"+fingerprint+".json")
}
