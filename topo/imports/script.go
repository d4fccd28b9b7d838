package imports

import (
	"errors"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// maxNested bounds scripts in scripts, as in sh -c "sh -c ...".
const maxNested = 3

// script reads the commands of a shell script that a device starts with; its
// first line is at where. What is no plain command is told.
func (d *draft) script(dev *device, where at, text string) {
	if d.scripted += len(text); d.scripted > maxScripts {
		d.notef(where, "the scripts have more than %d bytes in all: this one is left out", maxScripts)
		return
	}
	s := &script{draft: d, dev: dev, where: where}
	s.read(text)
}

type script struct {
	*draft
	dev    *device
	where  at // of the first line
	nested int
}

// command is a plain command of a script.
type command struct {
	at
	words      []string
	env        []variable
	background bool
	opaque     bool // some word depends on what is only known at run time
}

func (c command) String() string { return strings.Join(c.words, " ") }

func (s *script) read(text string) {
	if strings.IndexByte(text, 0) >= 0 {
		s.notef(s.where, "this is no shell script, and is left out")
		return
	}
	parser := syntax.NewParser(syntax.Variant(syntax.LangBash))
	for st, err := range parser.StmtsSeq(strings.NewReader(text)) {
		var pe syntax.ParseError
		switch {
		case errors.As(err, &pe):
			s.notef(s.line(pe.Pos), "the shell would not understand this (%s): what follows is left out", pe.Text)
			return
		case err != nil:
			s.notef(s.where, "the shell would not understand this (%v): what follows is left out", err)
			return
		}
		if len(s.runs) > maxRuns {
			return // which is an error later
		}
		s.statement(st, false)
	}
}

func (s *script) line(p syntax.Pos) at {
	if s.nested > 0 || !p.IsValid() {
		return s.where
	}
	return at{s.where.file, s.where.line + int(p.Line()) - 1}
}

func (s *script) statement(st *syntax.Stmt, background bool) {
	where := s.line(st.Pos())
	background = background || st.Background
	switch c := st.Cmd.(type) {
	case nil: // a redirection alone
	case *syntax.CallExpr:
		s.call(where, c, background)
	case *syntax.DeclClause:
		s.assign(c.Args)
	case *syntax.BinaryCmd:
		if c.Op != syntax.AndStmt && c.Op != syntax.OrStmt {
			s.notef(where, "a pipe is not carried over: %s", s.text(st))
			return
		}
		s.statement(c.X, background)
		if c.Op == syntax.AndStmt {
			s.statement(c.Y, background)
		}
	case *syntax.Block:
		for _, st := range c.Stmts {
			s.statement(st, background)
		}
	case *syntax.Subshell:
		for _, st := range c.Stmts {
			s.statement(st, background)
		}
	default:
		s.notef(where, "not carried over, as it is no plain command: %s", s.text(st))
	}
}

// text is a statement as it is written.
func (s *script) text(n syntax.Node) string {
	var b strings.Builder
	if err := syntax.NewPrinter(syntax.SingleLine(true)).Print(&b, n); err != nil {
		return "?"
	}
	t := b.String()
	if r := []rune(t); len(r) > maxShown {
		t = string(r[:maxShown]) + "..."
	}
	return t
}

func (s *script) assign(list []*syntax.Assign) {
	for _, a := range list {
		if a.Name != nil && a.Value != nil {
			if value, ok := s.word(a.Value); ok {
				s.dev.setenv(a.Name.Value, value)
			}
		}
	}
}

func (s *script) call(where at, c *syntax.CallExpr, background bool) {
	if len(c.Args) == 0 {
		s.assign(c.Assigns)
		return
	}
	cmd := command{at: where, background: background}
	for _, a := range c.Assigns {
		if a.Name != nil && a.Value != nil {
			value, _ := s.word(a.Value)
			cmd.env = append(cmd.env, variable{a.Name.Value, value})
		}
	}
	for _, w := range c.Args {
		text, ok := s.word(w)
		cmd.words = append(cmd.words, text)
		cmd.opaque = cmd.opaque || !ok
	}
	s.unwrap(&cmd)
	if len(cmd.words) == 0 {
		return
	}
	if inner, ok := inline(cmd.words); ok && s.nested < maxNested {
		sub := &script{draft: s.draft, dev: s.dev, where: where, nested: s.nested + 1}
		if background && !strings.HasSuffix(inner, "&") {
			inner = "{ " + inner + "\n} &"
		}
		sub.read(inner)
		return
	}
	s.command(cmd)
}

// unwrap takes off what only starts another command.
func (s *script) unwrap(c *command) {
	for len(c.words) > 0 {
		switch c.words[0] {
		case "nohup", "setsid":
			c.background = true
		case "sudo", "exec", "time", "env", "command":
		default:
			name, value, ok := strings.Cut(c.words[0], "=")
			if !ok || !variableName.MatchString(name) {
				return
			}
			c.env = append(c.env, variable{name, value})
		}
		c.words = c.words[1:]
	}
}

// inline is the script of sh -c SCRIPT.
func inline(words []string) (string, bool) {
	if len(words) == 3 && words[1] == "-c" {
		switch words[0] {
		case "sh", "bash", "/bin/sh", "/bin/bash":
			return words[2], true
		}
	}
	return "", false
}

// word is the text of a word with quotes removed and known variables put in.
// ok is false when it depends on more than that; the text is then as written.
func (s *script) word(w *syntax.Word) (text string, ok bool) {
	var b strings.Builder
	if s.parts(&b, w.Parts, false) {
		return b.String(), true
	}
	return s.text(w), false
}

func (s *script) parts(b *strings.Builder, parts []syntax.WordPart, quoted bool) bool {
	for _, p := range parts {
		switch p := p.(type) {
		case *syntax.Lit:
			if !quoted && strings.ContainsAny(p.Value, "*?[") && !strings.Contains(p.Value, `\`) {
				return false
			}
			b.WriteString(unescape(p.Value, quoted))
		case *syntax.SglQuoted:
			if p.Dollar {
				return false
			}
			b.WriteString(p.Value)
		case *syntax.DblQuoted:
			if p.Dollar || !s.parts(b, p.Parts, true) {
				return false
			}
		case *syntax.ParamExp:
			if p.Param == nil || p.Exp != nil || p.Slice != nil || p.Repl != nil || p.Index != nil || p.Length || p.Excl || p.Width {
				return false
			}
			value := s.dev.getenv(p.Param.Value)
			if value == "" || b.Len()+len(value) > maxLine {
				return false
			}
			b.WriteString(value)
		default:
			return false
		}
	}
	return true
}

// unescape takes off backslashes as the shell does (POSIX.1-2017, sections
// 2.2.1 and 2.2.3).
func unescape(s string, quoted bool) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		switch {
		case s[i] == '\n':
		case quoted && !strings.ContainsRune("$`\"\\", rune(s[i])):
			b.WriteByte('\\')
			b.WriteByte(s[i])
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}
