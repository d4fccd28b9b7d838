package topo

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
)

// archiveSuffix ends the path of an archive of images; a reference never has
// it, unless as a tag.
const archiveSuffix = ".tar"

// reference is the name of an image: an optional registry, a path of lower
// case, and a tag or a digest (the grammar of github.com/distribution/reference).
var reference = regexp.MustCompile(`^(?:(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::[0-9]{1,5})?/)?` +
	`[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*` +
	`(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?$`)

// maxReference bounds a reference; the engine allows 255 bytes for its name.
const maxReference = 255

// Bounds of limits. The engine refuses less than 6 MiB of memory and less
// than a hundredth of a processor (linuxMinMemory and the check of NanoCPUs in
// daemon/daemon_unix.go of github.com/moby/moby).
const (
	minMemory = 6 << 20 // bytes
	maxMemory = 1 << 50 // bytes
	minCPUs   = 0.01
	maxCPUs   = 4096
)

// memoryUnits are those of IEC 80000-13 and of the SI, in bytes.
var memoryUnits = map[string]float64{
	"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
	"kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
}

// IsArchive tells whether the image is that of an archive, whose path is
// relative to the folder of the lab file.
func (s Service) IsArchive() bool { return strings.HasSuffix(s.Image, archiveSuffix) }

// IsReference tells whether a text names an image, with a tag or digest if it
// has one.
func IsReference(s string) bool {
	return len(s) <= maxReference && !strings.HasSuffix(s, archiveSuffix) && reference.MatchString(s)
}

// NeedsDocker tells whether the lab can only run in containers, and why: the
// first service with an image or with limits, and its line in the file.
func (lab *Lab) NeedsDocker() (why string, ok bool) {
	for _, s := range lab.Services {
		what := ""
		switch {
		case s.Image != "":
			what = "runs the image " + s.Image
		case s.Limits != Limits{}:
			what = "has limits"
		default:
			continue
		}
		why := fmt.Sprintf("service %q %s", s.Name, what)
		if s.Line > 0 {
			why += fmt.Sprintf(" (line %d)", s.Line)
		}
		return why, true
	}
	return "", false
}

// ParseMemory reads an amount of memory, as in 256MiB or 1.5GiB, in bytes. KiB,
// MiB, GiB and TiB are powers of 1024; kB, MB, GB and TB of 1000.
func ParseMemory(s string) (int64, error) {
	if m := amount.FindStringSubmatch(s); m != nil && memoryUnits[m[2]] > 0 {
		v, err := strconv.ParseFloat(m[1], 64)
		if bytes := math.Round(v * memoryUnits[m[2]]); err == nil && bytes >= minMemory && bytes <= maxMemory {
			return int64(bytes), nil
		}
		return 0, fmt.Errorf("memory %s must be 6MiB to 1024TiB; the engine takes no less", quote(s))
	}
	return 0, fmt.Errorf("memory %s must be a number and KiB, MiB or GiB, as in 256MiB", quote(s))
}

func (b *builder) image(t text) string {
	s := t.val
	switch {
	case strings.HasSuffix(s, archiveSuffix):
		if strings.ContainsAny(s, "\x00\n") {
			b.addf(t.place, "image %s must be the path of an archive, in one line", quote(s))
		}
	case !IsReference(s):
		b.addf(t.place, "image %s must be a name with a tag, as in nginx:1.27 or registry.example/team/shop:v2, or the path of an archive that ends in .tar", quote(s))
	}
	return s
}

func (b *builder) limits(f fileLimits) Limits {
	var out Limits
	var err error
	if c := f.CPUs; c.set {
		if out.CPUs = c.val; !(c.val >= minCPUs && c.val <= maxCPUs) {
			b.addf(c.place, "cpus %v must be %v to %v processors", c.val, minCPUs, maxCPUs)
		}
	}
	if m := f.Memory; m.set {
		if out.Memory, err = ParseMemory(string(m.val)); err != nil {
			b.addf(m.place, "%v", err)
		}
	}
	return out
}
