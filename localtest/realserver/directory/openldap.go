//go:build unix

package directory

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"eslink/localtest/services"
)

// slapdConf lets those who logged in read, and nobody read a password.
const slapdConf = `include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
database mdb
suffix %q
directory %q
access to attrs=userPassword by anonymous auth by * none
access to * by users read by * none
`

func (s *Server) slapd(ctx context.Context, p services.People) error {
	conf, data := filepath.Join(s.home, "slapd.conf"), filepath.Join(s.home, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(conf, fmt.Appendf(nil, slapdConf, p.Suffix, data), 0o600); err != nil {
		return err
	}
	if err := s.run(ctx, p.LDIF(), "slapadd", "-f", conf); err != nil {
		return err
	}
	return s.serve("slapd", "-d", "0", "-f", conf, "-h", "ldap://"+s.Addr()+"/")
}
