// Package reindex runs _reindex, local and remote, as tasks: page after page, with
// throttle, retries, cancel and stored results, in the words of a real server.
package reindex
