package explain

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// TextOptions say how much Text tells.
type TextOptions struct {
	Rules bool // match and actions of each flow, and the question to Open vSwitch
}

// Text writes a trace for people, one line a step.
func Text(out io.Writer, t Trace, o TextOptions) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s to %s: %s\n", t.From, t.To, t.Packet)
	textWay(&b, t.There, o)
	if t.Back != nil {
		fmt.Fprintf(&b, "\nThe answer: %s\n", t.Answer)
		textWay(&b, *t.Back, o)
	}
	if len(t.Shares) > 0 {
		b.WriteString("\nNew connections are shared out by slots:\n")
		w := tabwriter.NewWriter(&b, 0, 4, 2, ' ', 0)
		for _, s := range t.Shares {
			chosen := ""
			if s.Chosen {
				chosen = "<- this one"
			}
			fmt.Fprintf(w, "  %s\t%s\t%s\t%d slots\t%.1f %%\t%s\n", s.Instance, s.Service, s.Address, s.Slots, 100*s.Ratio, chosen)
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	if len(t.Notes) > 0 {
		b.WriteString("\n")
	}
	for _, n := range t.Notes {
		fmt.Fprintf(&b, "%s\n", n)
	}
	lines := strings.Split(b.String(), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	_, err := io.WriteString(out, strings.Join(lines, "\n"))
	return err
}

func textWay(b *strings.Builder, w Way, o TextOptions) {
	for _, h := range w.Hops {
		fmt.Fprintf(b, "\n%s, in by port %d", h.Switch, h.InPort)
		if h.From != "" {
			fmt.Fprintf(b, " from %s", h.From)
		}
		b.WriteString("\n")
		if o.Rules {
			fmt.Fprintf(b, "      ovs-appctl %s\n", quoted(h.OVS))
		}
		for _, s := range h.Steps {
			if s.Miss {
				fmt.Fprintf(b, "  %3d %-13s no flow for it\n", s.Table, s.Name)
				continue
			}
			fmt.Fprintf(b, "  %3d %-13s %s", s.Table, s.Name, s.Reason)
			if len(s.Changes) > 0 {
				fmt.Fprintf(b, " | %s", strings.Join(s.Changes, "; "))
			}
			b.WriteString("\n")
			if o.Rules {
				fmt.Fprintf(b, "      %s actions=%s\n", strings.TrimSuffix(fmt.Sprintf("priority=%d,%s", s.Priority, s.Match), ","), s.Actions)
			}
		}
	}
	fmt.Fprintf(b, "  => %s\n", w.Verdict.Text)
}

// quoted is arguments as a shell takes them.
func quoted(args []string) string {
	out := make([]string, len(args))
	for i, a := range args {
		out[i] = a
		if strings.ContainsAny(a, " ,()|") {
			out[i] = "'" + a + "'"
		}
	}
	return strings.Join(out, " ")
}

// String is "frontend on h1 (192.168.1.11:40000)".
func (p Party) String() string {
	switch {
	case p.Service != "" && p.Host != "":
		return fmt.Sprintf("%s on %s (%s)", p.Service, p.Host, p.Address)
	case p.Service != "" || p.Host != "":
		return fmt.Sprintf("%s (%s)", p.Service+p.Host, p.Address)
	default:
		return p.Address
	}
}
