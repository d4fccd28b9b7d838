package dns

import (
	"strings"

	"github.com/miekg/dns"
)

// splitName returns the labels of a name as they are on the wire (no
// escapes), but with ASCII letters in lower case, since case does not count
// (RFC 4343). It is false for what is no name.
func splitName(name string) ([]string, bool) {
	// A name has at most 255 bytes (RFC 1035, section 2.3.4).
	var wire [256]byte
	n, err := dns.PackDomainName(dns.Fqdn(name), wire[:], 0, nil, false)
	if err != nil || n > 255 {
		return nil, false
	}
	for i, c := range wire[:n] { // a label's length is below 'A'
		if 'A' <= c && c <= 'Z' {
			wire[i] = c + ('a' - 'A')
		}
	}
	text := string(wire[:n])
	labels := make([]string, 0, 6)
	for i := 0; i < len(text) && text[i] != 0; {
		size := int(text[i])
		labels = append(labels, text[i+1:i+1+size])
		i += 1 + size
	}
	return labels, true
}

// lower is text with ASCII letters in lower case, as splitName makes labels.
func lower(text string) string {
	if !strings.ContainsFunc(text, func(r rune) bool { return 'A' <= r && r <= 'Z' }) {
		return text
	}
	b := []byte(text)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + ('a' - 'A')
		}
	}
	return string(b)
}
