// Package store is the state of a cluster and the APIs on it: indices, aliases,
// templates, documents and bulk, settings, health, statistics and _cat. A Call is a
// request on its way through one of its handlers, or through those of the packages
// above.
package store
