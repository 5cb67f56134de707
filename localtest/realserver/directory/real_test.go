//go:build real && unix

package directory_test

import (
	"testing"

	"github.com/go-ldap/ldap/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/localtest/realserver/directory"
	"eslink/localtest/services"
	"eslink/localtest/services/directorytest"
)

// Real ones are asked what the fakes are asked. Check's words fail the test where something is missing: it never skips.
func TestRealDirectories(t *testing.T) {
	for _, kind := range []services.Kind{services.OpenLDAP, services.ActiveDirectory} {
		t.Run(string(kind), func(t *testing.T) {
			s, err := directory.Start(t.Context(), kind, directorytest.People)
			require.NoError(t, err)
			t.Cleanup(func() { assert.NoError(t, s.Stop()) })
			directorytest.Run(t, kind, func() *ldap.Conn {
				c, err := ldap.DialURL("ldap://" + s.Addr())
				require.NoError(t, err)
				return c
			})
		})
	}
}
