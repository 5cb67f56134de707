package linkcheck

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"eslink/events"
	"eslink/shared/aliyun/kms"
	"eslink/shared/apierr"
	"eslink/shared/es"
	"eslink/shared/facts"
)

// Operator has the instance do one operation of a use case that needs no task.
type Operator struct {
	Client *es.Client // of the instance
	// Login reads the secret of a directory's user.
	Login func(ctx context.Context, l Link) (kms.Login, error)
	Now   func() time.Time
}

// Operate does the operation and tells the three checks. linked is the check
// named link. later says that a check which fails may yet pass, by itself.
func (o Operator) Operate(ctx context.Context, l Link, linked facts.Check) (checks []facts.Check, later bool, err error) {
	began := o.Now()
	switch l.Kind {
	case events.Watcher:
		checks, err = o.send(ctx, l)
	case events.LDAP, events.ActiveDirectory:
		checks, err = o.logIn(ctx, l, linked)
	case events.Dictionary:
		checks, later, err = o.analyze(ctx, l, linked)
	default:
		err = fmt.Errorf("no operation for use case %q", l.Kind)
	}
	for i := range checks {
		checks[i].Seconds = o.Now().Sub(began).Seconds()
	}
	return checks, later, err
}

// send has Watcher send a webhook. The watch is part of the request: nothing is
// left behind.
func (o Operator) send(ctx context.Context, l Link) ([]facts.Check, error) {
	w := *l.Watcher
	address := fmt.Sprintf("%s %s://%s:%d%s", strings.ToUpper(w.Method), l.Protocol, l.Domain, l.Port, w.Path)
	sent, err := o.Client.Send(ctx, es.Webhook{Scheme: l.Protocol, Host: l.Domain, Port: l.Port, Method: w.Method, Path: w.Path, Body: w.Body, ConnectionTimeout: "10s", ReadTimeout: "20s"})
	switch {
	case es.IsOff(err):
		return unasked(l.InstanceID+" does not know Watcher's API", "switch Watcher on: xpack.watcher.enabled in esConfig (step configure does), and wait for the restart"), nil
	case isForbidden(err):
		return unasked(err.Error(), "grant manage_watcher to the user of the instance's secret"), nil
	case err != nil:
		return nil, err
	case sent.Error != nil:
		if remedy := unreached(sent.Error, l); remedy != "" {
			return stopped(network, sent.Reason, remedy), nil
		}
		return stopped(operation, sent.Reason, "look at the instance's log; if xpack.http.whitelist is set, it must admit the endpoint"), nil
	case sent.Reply == http.StatusUnauthorized || sent.Reply == http.StatusForbidden:
		return stopped(login, fmt.Sprintf("%s is answered %d", address, sent.Reply), "give a path in watcher.path that needs no login, for the proof"), nil
	case sent.Status != "success" || sent.Reply == 0 || sent.Reply >= 400:
		return stopped(operation, fmt.Sprintf("%s is answered %d: %s", address, sent.Reply, sent.Reason), "mind watcher.path and watcher.method, and look at the service's own log"), nil
	}
	return passed(l, "the service requires no login", fmt.Sprintf("a watch of %s sends %s and is answered %d", l.InstanceID, address, sent.Reply)), nil
}

// isForbidden reports whether the instance's user may not do something.
func isForbidden(err error) bool {
	var e *apierr.Error
	return errors.As(err, &e) && e.Status == http.StatusForbidden
}

// unseen is the check network of an operation that does not tell it from its own
// failure: then the balancer's word counts.
func unseen(l Link, linked facts.Check) facts.Check {
	if linked.OK {
		return facts.Check{Name: "network", OK: true, Detail: fmt.Sprintf("the balancer reaches port %d; from %s it is not seen apart from the operation", l.Port, l.InstanceID)}
	}
	return facts.Check{Name: "network", Detail: fmt.Sprintf("port %d does not answer", l.Port), Remedy: "fix check `link` first"}
}

// logIn logs in as a user of the directory, on a node that has forgotten earlier
// logins. A refused login has no reason: the cluster tells its log alone.
func (o Operator) logIn(ctx context.Context, l Link, linked facts.Check) ([]facts.Check, error) {
	user, err := o.Login(ctx, l)
	if err != nil {
		return nil, err
	}
	name, kind := "*", strings.ReplaceAll(l.Kind, "-", "_")
	d := l.Directory()
	if d != nil {
		name = d.Realm
	}
	remembered := ""
	if err := o.Client.ForgetLogin(ctx, name, user.Username); isForbidden(err) {
		remembered = "; the instance may remember an earlier login, for the user of its secret may not make it forget (manage_security)"
	} else if err != nil {
		return nil, err
	}
	id, err := o.Client.As(user.Username, user.Password).Authenticate(ctx)
	if es.IsUnauthorized(err) {
		checks := stopped(login, l.InstanceID+" refuses "+user.Username+", a user of the directory: the password is wrong, or no directory answers (which of the two, its log alone says)",
			"put the right password into the user's secret, and of a realm that binds into its bindSecret (then start again); look whether the directory runs and knows "+user.Username+", and of ldaps whether a public CA signed its certificate and target.tls is certificate; see check link")
		checks[network] = unseen(l, linked)
		return checks, nil
	}
	if err != nil {
		return nil, err
	}
	if id.Realm.Type != kind || d != nil && id.Realm.Name != d.Realm {
		return stopped(operation, fmt.Sprintf("%s is a user of realm %s (%s) and not of the directory", user.Username, id.Realm.Name, id.Realm.Type),
			"prove the realm with a user whom the directory alone knows"), nil
	}
	if other, err := o.elsewhere(ctx, l, kind, id.Realm.Name); err != nil || other != "" {
		return stopped(operation, other, "have the realm's url name the endpoint (step configure does)"), err
	}
	if len(id.Roles) == 0 && d != nil && (d.UnmappedGroupsAsRoles || len(d.RoleMappings) > 0) {
		return stopped(operation, fmt.Sprintf("%s logs in, but has no role: its groups are %v", user.Username, id.Metadata["ldap_groups"]),
			"put the user into a group that ldap.roleMappings or activeDirectory.roleMappings names, by its whole distinguished name"), nil
	}
	return passed(l, fmt.Sprintf("the directory knows %s (%v)%s", user.Username, id.Metadata["ldap_dn"], remembered),
		fmt.Sprintf("%s logs in to %s by realm %s, with roles %v", user.Username, l.InstanceID, id.Realm.Name, id.Roles)), nil
}

// elsewhere says which other directory a realm asks, if it is another one.
func (o Operator) elsewhere(ctx context.Context, l Link, kind, realm string) (string, error) {
	nodes, err := o.Client.NodeSettings(ctx)
	if err != nil {
		return "", err
	}
	for name, settings := range nodes {
		urls := settings.List("xpack.security.authc.realms." + kind + "." + realm + ".url")
		if len(urls) > 0 && !slices.Contains(urls, fmt.Sprintf("%s://%s:%d", l.Protocol, l.Domain, l.Port)) {
			return fmt.Sprintf("realm %s of node %s asks %s, and not this endpoint", realm, name, strings.Join(urls, ", ")), nil
		}
	}
	return "", nil
}

// analyze asks an analyzer for a word of the dictionary. A plugin looks for a
// new dictionary from time to time, such as each minute.
func (o Operator) analyze(ctx context.Context, l Link, linked facts.Check) (checks []facts.Check, later bool, err error) {
	p := l.Plugin
	tokens, err := o.Client.Tokens(ctx, p.Analyzer, p.Word)
	var e *apierr.Error
	switch {
	case errors.As(err, &e) && e.Status == http.StatusBadRequest:
		return unasked(err.Error(), "install the plugin that has the analyzer "+p.Analyzer), false, nil
	case err != nil:
		return nil, false, err
	}
	was := "nobody saw what it was before the link"
	if l.Before != nil {
		was = fmt.Sprintf("before the link it made %s of it", quoted(l.Before))
	}
	if !es.Whole(tokens, p.Word) {
		checks := stopped(operation, fmt.Sprintf("%s makes %s of %s; %s", p.Analyzer, quoted(tokens), p.Word, was),
			fmt.Sprintf("look whether %s is in the dictionary at %s, whether the plugin's address is %s://%s:%d%[2]s, and at the instance's log; see check link", p.Word, p.Path, l.Protocol, l.Domain, l.Port))
		checks[network], checks[login] = unseen(l, linked), facts.Check{Name: "login", OK: true, Detail: "the dictionary requires no login"}
		return checks, linked.OK, nil
	}
	if l.Before != nil && es.Whole(l.Before, p.Word) {
		return stopped(operation, fmt.Sprintf("%s keeps %s whole, as it did before the link", p.Analyzer, p.Word), "give a word in plugin.word that the analyzer does not know of itself"), false, nil
	}
	return passed(l, "the dictionary requires no login", fmt.Sprintf("%s keeps %s whole; %s", p.Analyzer, p.Word, was)), false, nil
}

func quoted(tokens []string) string { return fmt.Sprintf("%q", tokens) }
