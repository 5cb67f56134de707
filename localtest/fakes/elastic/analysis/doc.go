// Package analysis cuts text into tokens, as the analyzers do that need no index.
package analysis
