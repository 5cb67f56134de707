// Package watcher executes a watch that comes with its request, webhooks included.
package watcher
