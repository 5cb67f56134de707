package services

import (
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// The wire is LDAPv3 (RFC 4511), as far as a login needs it: simple bind,
// search, unbind. No server library that is kept up serves a listener of ours,
// so this one is made of the codec and the filters of the client's.

// Serve answers connections until the listener is closed.
func (d *Directory) Serve(l net.Listener) error {
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	var running sync.WaitGroup
	defer running.Wait()
	defer func() { // a server that goes down takes its connections along
		mu.Lock()
		defer mu.Unlock()
		for c := range open {
			c.Close()
		}
	}()
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		mu.Lock()
		open[c] = true
		mu.Unlock()
		running.Go(func() {
			d.ServeConn(c)
			mu.Lock()
			defer mu.Unlock()
			delete(open, c)
		})
	}
}

// ServeConn answers one connection until either side closes it.
func (d *Directory) ServeConn(c net.Conn) {
	defer c.Close()
	_, secret := c.(*tls.Conn)
	s := session{d: d, conn: c, secret: secret}
	for {
		p, err := ber.ReadPacket(c)
		if err != nil || len(p.Children) < 2 || !s.answer(p) {
			return
		}
	}
}

type session struct {
	d      *Directory
	conn   net.Conn
	secret bool // over TLS
	user   string
}

// answer says whether the connection goes on.
func (s *session) answer(p *ber.Packet) bool {
	id, ok := p.Children[0].Value.(int64)
	if !ok {
		return false
	}
	op := p.Children[1]
	switch op.Tag {
	case ldap.ApplicationBindRequest:
		code, text := s.bind(op)
		return s.send(id, result(ldap.ApplicationBindResponse, code, text))
	case ldap.ApplicationSearchRequest:
		return s.search(id, op)
	case ldap.ApplicationAbandonRequest:
		return true // what it would stop has been answered
	case ldap.ApplicationExtendedRequest:
		return s.send(id, result(ldap.ApplicationExtendedResponse, ldap.LDAPResultProtocolError, "unsupported extended operation"))
	case ldap.ApplicationUnbindRequest:
		return false
	}
	return s.send(id, result(op.Tag+1, ldap.LDAPResultUnwillingToPerform, "read only")) // each response's tag follows its request's
}

func (s *session) bind(op *ber.Packet) (code uint16, text string) {
	if len(op.Children) < 3 {
		return ldap.LDAPResultProtocolError, "decoding error"
	}
	s.user = "" // a bind that fails leaves the connection anonymous
	ad := s.d.Kind == ActiveDirectory
	name, auth := op.Children[1].Data.String(), op.Children[2]
	password := auth.Data.String()
	switch {
	case auth.Tag != 0:
		return ldap.LDAPResultAuthMethodNotSupported, "only simple binds"
	case name == "" && password == "":
		return ldap.LDAPResultSuccess, ""
	case ad && s.d.RequireTLS && !s.secret:
		return ldap.LDAPResultStrongAuthRequired, "BindSimple: Transport encryption required."
	case password == "" && !ad:
		return ldap.LDAPResultUnwillingToPerform, "unauthenticated bind (DN with no password) disallowed"
	}
	if !ad {
		if _, err := ldap.ParseDN(name); err != nil {
			return ldap.LDAPResultInvalidDNSyntax, "invalid DN"
		}
	}
	if !s.d.login(name, password) {
		if ad {
			return ldap.LDAPResultInvalidCredentials, "80090308: LdapErr: DSID-0C0903A9, comment: AcceptSecurityContext error, data 52e, v1db1"
		}
		return ldap.LDAPResultInvalidCredentials, ""
	}
	s.user = name
	return ldap.LDAPResultSuccess, ""
}

func (s *session) search(id int64, op *ber.Packet) bool {
	done := func(code uint16, text string) bool {
		return s.send(id, result(ldap.ApplicationSearchResultDone, code, text))
	}
	if len(op.Children) < 8 {
		return done(ldap.LDAPResultProtocolError, "decoding error")
	}
	base, err := ldap.ParseDN(op.Children[0].Data.String())
	if err != nil {
		return done(ldap.LDAPResultInvalidDNSyntax, "invalid DN")
	}
	scope, _ := op.Children[1].Value.(int64)
	limit, _ := op.Children[3].Value.(int64)
	typesOnly, _ := op.Children[5].Value.(bool)
	var names []string
	for _, a := range op.Children[7].Children {
		names = append(names, a.Data.String())
	}
	ad := s.d.Kind == ActiveDirectory
	root := len(base.RDNs) == 0 && scope == ldap.ScopeBaseObject
	if s.user == "" && !root {
		if ad {
			return done(ldap.LDAPResultOperationsError, "00002020: Operation unavailable without authentication")
		}
		return done(ldap.LDAPResultNoSuchObject, "")
	}
	if root {
		e := newEntry("", is("objectClass", "top"), is("namingContexts", s.d.root()), is("supportedLDAPVersion", "3"))
		return s.send(id, entryOf(e, names, typesOnly)) && done(ldap.LDAPResultSuccess, "")
	}
	if ad && scope != ldap.ScopeBaseObject && slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, tokenGroups) }) {
		return done(ldap.LDAPResultOperationsError, "tokenGroups is reckoned at one object")
	}
	found, exists := s.d.search(base, scope, op.Children[6])
	if !exists {
		return done(ldap.LDAPResultNoSuchObject, "")
	}
	for n, e := range found {
		if limit > 0 && int64(n) == limit {
			return done(ldap.LDAPResultSizeLimitExceeded, "")
		}
		if !s.send(id, entryOf(e, names, typesOnly)) {
			return false
		}
	}
	if whole, _ := ldap.ParseDN(s.d.root()); ad && scope != ldap.ScopeBaseObject && whole.EqualFold(base) {
		// A domain's root points at the partition beside it, under a name that often does not resolve.
		ref := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationSearchResultReference, nil, "")
		ref.AppendChild(octets("ldap://" + s.d.domain() + "/CN=Configuration," + s.d.root() + map[bool]string{true: "??base"}[scope == ldap.ScopeSingleLevel]))
		if !s.send(id, ref) {
			return false
		}
	}
	return done(ldap.LDAPResultSuccess, "")
}

func (d *Directory) root() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.people.root(d.Kind)
}

func (d *Directory) domain() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.people.Domain()
}

func (s *session) send(id int64, op *ber.Packet) bool {
	p := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, id, ""))
	p.AppendChild(op)
	_, err := s.conn.Write(p.Bytes())
	return err == nil
}

func octets(s string) *ber.Packet {
	return ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, s, "")
}

func result(tag ber.Tag, code uint16, text string) *ber.Packet {
	p := ber.Encode(ber.ClassApplication, ber.TypeConstructed, tag, nil, "")
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, int64(code), ""))
	p.AppendChild(octets(""))
	p.AppendChild(octets(text))
	return p
}

func entryOf(e entry, names []string, typesOnly bool) *ber.Packet {
	list := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
	for _, a := range e.pick(names) {
		values := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSet, nil, "")
		for _, v := range a.values {
			if !typesOnly {
				values.AppendChild(octets(v))
			}
		}
		one := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
		one.AppendChild(octets(a.name))
		one.AppendChild(values)
		list.AppendChild(one)
	}
	p := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationSearchResultEntry, nil, "")
	p.AppendChild(octets(e.name))
	p.AppendChild(list)
	return p
}

// truth is LDAP's: a filter on what a server does not know is neither.
type truth int

const (
	no truth = iota
	unknown
	yes
)

func truthOf(b bool) truth {
	if b {
		return yes
	}
	return no
}

// matches evaluates a filter (RFC 4511, 4.5.1.7). Comparison ignores case, but
// for DNs, which compare as DNs, and SIDs, which compare by their text.
// OpenLDAP does not know an attribute that is in no schema; Active Directory
// takes it for one that nobody has.
func (d *Directory) matches(f *ber.Packet, e entry) truth {
	switch f.Tag {
	case ldap.FilterAnd:
		out := yes
		for _, c := range f.Children {
			out = min(out, d.matches(c, e))
		}
		return out
	case ldap.FilterOr:
		out := no
		for _, c := range f.Children {
			out = max(out, d.matches(c, e))
		}
		return out
	case ldap.FilterNot:
		if len(f.Children) != 1 {
			return unknown
		}
		return yes - d.matches(f.Children[0], e)
	case ldap.FilterPresent:
		return truthOf(len(e.values(f.Data.String())) > 0)
	case ldap.FilterEqualityMatch, ldap.FilterApproxMatch:
		name, wanted := f.Children[0].Data.String(), f.Children[1].Data.String()
		for _, v := range e.values(name) {
			if same(v, wanted) {
				return yes
			}
		}
		if d.Kind == OpenLDAP && !d.known(name) {
			return unknown
		}
		return no
	case ldap.FilterSubstrings:
		for _, v := range e.values(f.Children[0].Data.String()) {
			if hasParts(strings.ToLower(v), f.Children[1].Children) {
				return yes
			}
		}
		return no
	}
	return unknown
}

func (d *Directory) known(name string) bool {
	return slices.ContainsFunc(d.entries, func(e entry) bool { return e.values(name) != nil })
}

func same(have, wanted string) bool {
	if strings.EqualFold(have, wanted) || sidText(have) == wanted && wanted != "" {
		return true
	}
	a, err := ldap.ParseDN(have)
	if err != nil {
		return false
	}
	b, err := ldap.ParseDN(wanted)
	return err == nil && len(a.RDNs) > 1 && a.EqualFold(b)
}

func hasParts(v string, parts []*ber.Packet) bool {
	for _, p := range parts {
		part := strings.ToLower(p.Data.String())
		at := strings.Index(v, part)
		switch {
		case at < 0, p.Tag == ldap.FilterSubstringsInitial && at > 0:
			return false
		case p.Tag == ldap.FilterSubstringsFinal:
			return strings.HasSuffix(v, part)
		}
		v = v[at+len(part):]
	}
	return true
}
