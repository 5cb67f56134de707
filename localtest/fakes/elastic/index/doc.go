// Package index is one index: settings, mapping, shards with their documents, what
// a refresh makes visible, and the queries that match documents. It knows no other
// index, no user and no request.
package index
