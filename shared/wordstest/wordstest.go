// Package wordstest holds sentences for people to plain English: the words and
// phrases that a reader who is new to eslink would not understand are refused in
// comments, reasons, problems and remedies.
package wordstest

import "regexp"

// banned are refused; after each stands what to say instead.
var banned = regexp.MustCompile(`(?i)\b(` +
	`mend(s|ed|ing)?` + // fix, correct, recover
	`|anew` + // again; made anew: recreated
	`|another('s)? hand|other hands?|our hand|by hand or` + // outside this run, manually
	`|comes? to nothing|came to nothing|come to pass|comes? to pass` + // fails, has no effect, takes effect
	`|(by )?the way of an event` + // a queue round trip
	`|pasts?( that| it)? can meet|the pasts|pasts:` + // possible prior states
	`|takes? up (its|the|a) ` + // applies
	`|mind (the|its|that) ` + // check
	`|quarrel(s|ed)?` + // conflict
	`|distrust(s|ed)?` + // force a recopy
	`|gone on with|goes on for ever` + // continued, never ends
	`|is no (domain|certificate|index|cluster) of` + // is not
	`|as eslink makes it` + // has unexpected settings
	`|what nothing means|asks for none` + // default, not required
	`|had too much to do` + // overloaded
	`|somebody faster` + // already done by somebody
	`)`)

// pattern is what a regular expression looks like in a sentence.
var pattern = regexp.MustCompile(`\[a-z|\[0-9|\[\^|\(\?:|\\[dwsS]\b|\^\(|\]\+\$`)

// Refuse returns the first banned phrase of a sentence, or empty.
func Refuse(sentence string) string { return banned.FindString(sentence) }

// RefusePattern returns what looks like a regular expression in a sentence for a
// person, or empty.
func RefusePattern(sentence string) string { return pattern.FindString(sentence) }
