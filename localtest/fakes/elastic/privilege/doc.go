// Package privilege says what users may do: Elasticsearch's names of privileges, the
// actions that each allows, and whether a user may do one.
package privilege
