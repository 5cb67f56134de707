package escluster

import (
	"maps"
	"regexp"
	"slices"

	"eslink/localtest/fakes/cloud"
)

// keystore is an instance's secure settings. Assumed, as no source says it: who is not on the allowlist gets a refusal
// of status 400; a write wants an active instance; names come as a list.
type keystore struct {
	allowed, restarts bool
	values            map[string]string
}

// secureSettings are those that realms have; an unknown one would keep the nodes from starting, so it is refused.
var secureSettings = regexp.MustCompile(`^xpack\.security\.authc\.realms\.(ldap|active_directory)\.[a-z0-9_]+\.secure_bind_password$`)

// AllowKeystore puts an instance on the keystore's allowlist. No source says whether a write restarts the nodes.
func (f *Fake) AllowKeystore(id string, restarts bool) {
	f.with(id, func(i *instance) { i.keystore.allowed, i.keystore.restarts = true, restarts })
}

// Secure are an instance's secure settings, as its nodes see them.
func (f *Fake) Secure(id string) (values map[string]string) {
	f.with(id, func(i *instance) { values = maps.Clone(i.keystore.values) })
	return values
}

func (i *instance) hasKeystore() error {
	if i.ArchType != "public" || !i.keystore.allowed {
		return cloud.Errorf(400, "InstanceNotSupportCurrentAction", "The instance does not support keystores.")
	}
	return nil
}

func (f *Fake) getKeystores(r *cloud.Request) (any, error) {
	i, err := f.instance(r)
	if err == nil {
		err = i.hasKeystore()
	}
	if err != nil {
		return nil, err
	}
	return map[string]any{"Result": slices.AppendSeq([]string{}, maps.Keys(i.keystore.values))}, nil
}

func (f *Fake) updateKeystores(r *cloud.Request) (any, error) {
	if err := r.Only("InstanceId", "force"); err != nil {
		return nil, err
	}
	i, err := f.writable(r)
	if err == nil {
		err = i.hasKeystore()
	}
	if err != nil {
		return nil, err
	}
	var body struct {
		Update map[string]string
		Remove []string
	}
	if err := decode(r, &body, "update", "remove"); err != nil {
		return nil, err
	}
	if len(body.Update)+len(body.Remove) == 0 {
		return nil, cloud.Errorf(400, "MissingParameter", "update and remove are missing.")
	}
	next := maps.Clone(i.keystore.values)
	if next == nil {
		next = map[string]string{}
	}
	for name, value := range body.Update {
		if !secureSettings.MatchString(name) || value == "" {
			return nil, invalid("secure setting %s", name)
		}
		next[name] = value
	}
	for _, name := range body.Remove {
		if _, ok := next[name]; !ok {
			return nil, invalid("secure setting %s does not exist", name)
		}
		delete(next, name)
	}
	i.keystore.values = next
	if i.keystore.restarts {
		f.begin(i, r, f.restartTime(i), i.Config)
	}
	return map[string]any{"Result": true}, nil
}

// Restart restarts an instance's nodes as they are, as somebody does in its console.
func (f *Fake) Restart(id string) {
	f.with(id, func(i *instance) {
		f.begin(i, &cloud.Request{Action: "RestartInstance", ID: f.account.NewID("restart", 18)}, f.restartTime(i), i.Config)
	})
}

// interrupt suspends the change under way: the instance is active again, and its nodes are as they are. Assumed, as the
// source says no more than "suspended".
func (f *Fake) interrupt(r *cloud.Request) (any, error) {
	if err := r.Only("InstanceId"); err != nil {
		return nil, err
	}
	i, err := f.instance(r)
	if err != nil {
		return nil, err
	}
	c := i.change()
	if c == nil || c.config == nil {
		return nil, cloud.Errorf(400, "InstanceStatusNotSupportCurrentAction", "The instance status does not support the current action.")
	}
	c.done, i.down = true, c.exception != ""
	i.updated = f.account.Now()
	return map[string]any{"Result": true}, nil
}
