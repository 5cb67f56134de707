// Package sdks holds no code: its test, with the tag sdks, calls the fakes of the
// cloud with official SDKs that eslink itself does not use. make test-sdks runs it.
package sdks
