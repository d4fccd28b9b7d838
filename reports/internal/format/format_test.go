package format

import (
	"math"
	"testing"
	"time"
)

func TestFormat(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{Significant(0.0341, 2), "0.034"},
		{Significant(9.96, 2), "10"},
		{Significant(0.0999, 2), "0.10"},
		{Significant(2.94, 2), "2.9"},
		{Significant(1577.674, 3), "1580"},
		{Significant(100, 3), "100"},
		{Significant(3.474, 3), "3.47"},
		{Significant(0, 3), "0"},
		{Significant(math.NaN(), 3), Missing},
		{Significant(math.Inf(1), 3), Missing},
		{Times(2.94), "2.9"}, {Times(1.034), "1.03"}, {Times(0.996), "1.00"}, {Times(0.97), "0.97"},
		{Times(1.19), "1.19"}, {Times(1.23), "1.2"}, {Times(0.3412), "0.34"}, {Times(12.4), "12"},
		{TimesRange(1.16, 1.09, 1.2), "1.16 (1.09–1.20)"}, {TimesRange(1.3, 1.24, 1.37), "1.3 (1.2–1.4)"},
		{TimesRange(0.874, 0.75, 1.24), "0.87 (0.75–1.24)"}, {TimesRange(9.9, 0.991, 12.4), "9.90 (0.99–12)"},
		{TimesRange(0.05, 0.034, 0.21), "0.050 (0.034–0.21)"}, {TimesRange(1.02, 1.02, 1.02), "1.02"},
		{TimesRange(math.NaN(), math.NaN(), math.NaN()), Missing},
		{PerSecond(812.4), "812"}, {PerSecond(8124), "8120"}, {PerSecond(36106), "36\u202f100"}, {PerSecond(4.123), "4.12"},
		{Grouped(1234567), "1\u202f234\u202f567"}, {Grouped(9999), "9999"},
		{Plural(1, "core"), "1 core"}, {Plural(2, "core"), "2 cores"},
		{Duration(843 * time.Second), "14 min 3 s"}, {Duration(3700 * time.Second), "1 h 1 min"}, {Duration(59600 * time.Millisecond), "1 min 0 s"}, {Duration(9 * time.Second), "9 s"},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}
