// Package search answers searches and counts, and holds scrolls and points in time
// open.
package search
