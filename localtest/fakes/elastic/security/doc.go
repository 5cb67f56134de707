// Package security says who a caller is: the chain of realms, OpenLDAP and Active
// Directory among them, the memory of logins, and role mappings.
package security
