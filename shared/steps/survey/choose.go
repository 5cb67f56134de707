package survey

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"eslink/events"
	"eslink/shared/apierr"
	"eslink/shared/es"
	"eslink/shared/facts"
)

// maxPassed bounds the lines about what is passed over.
const maxPassed = 50

// choose finds what the spec's patterns mean now. Everything that they match is
// either chosen or passed over by a line that says so.
func choose(ctx context.Context, c *es.Client, s events.Spec, fs *events.Findings) (chosen []facts.Chosen, passed []string, err error) {
	for i, ix := range s.Indices {
		if len(ix.Include) == 0 {
			chosen = append(chosen, facts.Chosen{Entry: i, Source: ix.Source, Dest: ix.Dest})
			continue
		}
		var names []string
		for _, pattern := range ix.Include {
			found, over, err := match(ctx, c, pattern, ix.Exclude)
			if err != nil {
				return nil, nil, err
			}
			if passed = append(passed, over...); len(found) == 0 {
				fs.Add(fmt.Sprintf("indices[%d].include", i), pattern+" matches no index that can be copied"+because(over), "check its spelling, leave it out, or create the index")
			}
			names = append(names, found...)
		}
		slices.Sort(names)
		for _, name := range slices.Compact(names) {
			dest, ok := name, true
			if ix.Rename != nil {
				dest, ok = ix.Rename.Of(name)
			}
			switch {
			case !ok:
				fs.Add(fmt.Sprintf("indices[%d].rename.from", i), "it does not match "+name, "make it match every included index, or exclude that index")
			case !events.IsIndexName(dest):
				fs.Add(fmt.Sprintf("indices[%d].rename.to", i), fmt.Sprintf("it makes %q of %s, which is not an index name", dest, name), "correct the rule")
			}
			chosen = append(chosen, facts.Chosen{Entry: i, Source: name, Dest: dest})
		}
	}
	if len(chosen) > events.MaxIndices {
		fs.Add("indices", fmt.Sprintf("they are %d indices at the source", len(chosen)), fmt.Sprintf("choose at most %d, and the others in another spec", events.MaxIndices))
	}
	seen := map[string]string{}
	for _, ix := range chosen {
		if other, ok := seen[ix.Dest]; ok {
			fs.Add(fmt.Sprintf("indices[%d]", ix.Entry), fmt.Sprintf("%s is the dest of %s and of %s", ix.Dest, other, ix.Source), "give every index a destination of its own")
		}
		seen[ix.Dest] = ix.Source
	}
	slices.Sort(passed)
	passed = slices.Compact(passed)
	if more := len(passed) - maxPassed; more > 0 {
		passed = append(passed[:maxPassed-1], fmt.Sprintf("and %d more", more+1))
	}
	return chosen, passed, nil
}

// match returns the names that one pattern means, and what it passes over.
func match(ctx context.Context, c *es.Client, pattern string, exclude events.Patterns) (names, passed []string, err error) {
	indices, streams, err := c.Matches(ctx, pattern)
	if err != nil && !apierr.IsNotFound(err) { // 7.x says of a plain name that is not there: nothing
		return nil, nil, err
	}
	for _, name := range streams {
		if !exclude.Match(name) {
			passed = append(passed, "data stream "+name)
		}
	}
	for _, ix := range indices {
		has := func(attribute string) bool { return slices.Contains(ix.Attributes, attribute) }
		switch {
		case exclude.Match(ix.Name) || ix.DataStream != "": // the stream is told
		case strings.HasPrefix(ix.Name, ".") || has("system"):
			passed = append(passed, "system index "+ix.Name)
		case has("hidden"):
			passed = append(passed, "hidden index "+ix.Name)
		case has("closed"):
			passed = append(passed, "closed index "+ix.Name)
		case has("frozen"): // searches do not see it
			passed = append(passed, "frozen index "+ix.Name)
		default:
			names = append(names, ix.Name)
		}
	}
	return names, passed, nil
}

func because(passed []string) string {
	if len(passed) == 0 {
		return ""
	}
	return ", only " + strings.Join(passed[:min(10, len(passed))], ", ")
}
