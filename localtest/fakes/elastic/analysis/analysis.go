package analysis

import (
	"strings"
	"unicode"
)

type Token struct {
	Text, Kind string
	Start, End int // in UTF-16 units would be exact; these are characters
}

type Analyzer func(string) []Token

// BuiltinAnalyzers are the global ones plus those of plugins. ik_smart and
// ik_max_word need a dictionary: here they cut as standard does.
func BuiltinAnalyzers(plugins []string) map[string]Analyzer {
	out := map[string]Analyzer{
		"standard": Standard, "default": Standard,
		"simple":     func(s string) []Token { return runs(strings.ToLower(s), unicode.IsLetter) },
		"whitespace": func(s string) []Token { return runs(s, func(r rune) bool { return !unicode.IsSpace(r) }) },
		"keyword":    func(s string) []Token { return []Token{{s, "word", 0, len([]rune(s))}} },
	}
	for _, name := range plugins {
		out[name] = Standard
	}
	return out
}

func Standard(s string) []Token { return Lower(StandardTokens(s)) }

func Lower(tokens []Token) []Token {
	for i := range tokens {
		tokens[i].Text = strings.ToLower(tokens[i].Text)
	}
	return tokens
}

func runs(s string, part func(rune) bool) []Token {
	var out []Token
	text, start := []rune(s), -1
	for i := 0; i <= len(text); i++ {
		if in := i < len(text) && part(text[i]); in && start < 0 {
			start = i
		} else if !in && start >= 0 {
			out = append(out, Token{string(text[start:i]), "word", start, i})
			start = -1
		}
	}
	return out
}

// StandardTokens cuts words as Unicode's UAX 29 does for common text: letters and
// digits stick together, also across . and , between digits and . and ' between
// letters; ideographs stand alone.
func StandardTokens(s string) []Token {
	var out []Token
	text := []rune(s)
	word := func(r rune) bool {
		return (unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r) || r == '_') && !ideograph(r)
	}
	for i := 0; i < len(text); {
		if ideograph(text[i]) {
			out = append(out, Token{string(text[i]), "<IDEOGRAPHIC>", i, i + 1})
			i++
			continue
		}
		if !word(text[i]) {
			i++
			continue
		}
		start, kind := i, "<NUM>"
		for i < len(text) {
			joins := i+1 < len(text) && i > start &&
				(strings.ContainsRune(".'’:", text[i]) && unicode.IsLetter(text[i-1]) && unicode.IsLetter(text[i+1]) && !ideograph(text[i+1]) ||
					strings.ContainsRune(".,;'’", text[i]) && unicode.IsDigit(text[i-1]) && unicode.IsDigit(text[i+1]))
			if !word(text[i]) && !joins {
				break
			}
			if unicode.IsLetter(text[i]) {
				kind = "<ALPHANUM>"
			}
			i++
		}
		out = append(out, Token{string(text[start:i]), kind, start, i})
	}
	return out
}

func ideograph(r rune) bool { return unicode.In(r, unicode.Han, unicode.Hiragana) }
