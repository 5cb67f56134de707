// Package esjson reads and prints what Elasticsearch reads and prints: JSON whose
// members keep their order and whose numbers are Java's, errors with causes and root
// causes, times, lists, and settings flat or nested. It knows no index.
package esjson
