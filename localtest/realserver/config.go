//go:build unix

package realserver

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// elasticsearchYML merges the caller's settings over ours. The keys by which this package finds the server and its files are not the caller's.
func elasticsearchYML(own, defaults, settings map[string]string) (string, error) {
	for _, key := range sortedKeys(settings) {
		if _, taken := own[key]; taken {
			return "", fmt.Errorf("setting %s belongs to realserver", key)
		}
	}
	merged := maps.Clone(defaults)
	maps.Copy(merged, settings)
	maps.Copy(merged, own)
	var out strings.Builder
	for _, key := range sortedKeys(merged) {
		fmt.Fprintf(&out, "%s: %s\n", quote(key), yamlValue(merged[key]))
	}
	return out.String(), nil
}

// yamlValue writes a value of esConfig, which is always a string. A JSON array is written as the list it would be in the console's YML panel
// (reindex.remote.whitelist is documented both as a list and as one string), all else as a quoted string, from which Elasticsearch reads booleans and numbers too.
func yamlValue(value string) string {
	var list []string
	if json.Unmarshal([]byte(value), &list) == nil {
		return strings.TrimSpace(value)
	}
	return quote(value)
}

func quote(s string) string {
	quoted, _ := json.Marshal(s) // cannot fail for a string; JSON strings are YAML's double-quoted ones
	return string(quoted)
}

// hostsFile renders names (name to IP address) for jdk.net.hosts.file. The JVM then resolves nothing else, so localhost is there too.
func hostsFile(names map[string]string) (string, error) {
	out := "127.0.0.1 localhost\n"
	for _, name := range sortedKeys(names) {
		if _, err := netip.ParseAddr(names[name]); err != nil {
			return "", fmt.Errorf("host %s: %w", name, err)
		}
		if name == "" || strings.ContainsAny(name, " \t\r\n#") {
			return "", fmt.Errorf("host %q: not a name", name)
		}
		out += names[name] + " " + name + "\n"
	}
	return out, nil
}

// jvmOptions replaces the distribution's own: that one logs garbage collection and dumps heaps into the distribution.
func jvmOptions(heap, configDir, logDir string) string {
	return strings.Join([]string{
		"-Xms" + heap, "-Xmx" + heap, "-XX:+UseG1GC", "-XX:-AlwaysPreTouch",
		"-XX:TieredStopAtLevel=1", // boots in about half the time; a test server lives too short to win it back
		"-XX:+ExitOnOutOfMemoryError",
		"-XX:ErrorFile=" + logDir + "/hs_err_pid%p.log",
		"-Djava.io.tmpdir=${ES_TMPDIR}",
		// Read at every lookup, if nothing caches; the security manager lets modules read inside the config directory only.
		"-Djdk.net.hosts.file=" + configDir + "/hosts",
		"-Des.networkaddress.cache.ttl=0", "-Des.networkaddress.cache.negative.ttl=0",
	}, "\n") + "\n"
}

// FileUser is a user of the file realm.
type FileUser struct {
	Name, Password string
	Roles          []string // built in, or from roles.yml among Options.Files
}

// fileRealm renders the files users and users_roles. Passwords are hashed here as elasticsearch-users hashes them with
// xpack.security.authc.password_hashing.algorithm: pbkdf2 (class org.elasticsearch.xpack.core.security.authc.support.Hasher), which saves a JVM's start per user.
func fileRealm(users []FileUser) (passwords, roles string, err error) {
	holders := map[string][]string{}
	for _, u := range users {
		salt := make([]byte, 32)
		rand.Read(salt)
		key, err := pbkdf2.Key(sha512.New, u.Password, salt, 10000, 32)
		if err != nil {
			return "", "", fmt.Errorf("hash the password of user %s: %w", u.Name, err)
		}
		passwords += fmt.Sprintf("%s:{PBKDF2}10000$%s$%s\n", u.Name, base64.StdEncoding.EncodeToString(salt), base64.StdEncoding.EncodeToString(key))
		for _, role := range u.Roles {
			holders[role] = append(holders[role], u.Name)
		}
	}
	for _, role := range sortedKeys(holders) {
		roles += role + ":" + strings.Join(holders[role], ",") + "\n"
	}
	return passwords, roles, nil
}
