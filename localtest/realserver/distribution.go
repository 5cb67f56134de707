//go:build unix

package realserver

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"text/template"
	"time"
)

// Versions lists what Prepare can make, newest first.
var Versions = [...]string{"7.17.29", "7.10.2"}

// Distribution is an unpacked Elasticsearch with the modules that Elastic leaves out of the archive it publishes.
// It is only read from; any number of servers share it.
type Distribution struct {
	Version  string
	Dir      string // ES_HOME
	Security bool   // has x-pack-security: passwords, file users, LDAP and Active Directory realms
}

// module is one directory under modules/: jars from Maven plus the two files by which Elasticsearch accepts them.
type module struct {
	Name, Class string
	Extends     string // the module whose classes it sees
	Isolated    bool   // 7.17 demands type=isolated
	Group       string // with Artifact: what Maven fetches, and what that depends on
	Artifact    string
	Policy      string // plugin-security.policy, "" for none
}

const (
	connectPolicy = `grant {
  permission java.net.SocketPermission "*", "connect";
};
grant codeBase "${codebase.elasticsearch-rest-client}" {
  permission java.net.NetPermission "getProxySelector";
};
grant codeBase "${codebase.httpasyncclient}" {
  permission java.net.NetPermission "getProxySelector";
};
`
	scriptPolicy = `grant {
  permission java.lang.RuntimePermission "createClassLoader";
  permission java.lang.RuntimePermission "getClassLoader";
};
`
)

// modules says what is added to a version. Maven Central has Elastic's own reindex classes for both, and analysis, Painless
// and ingest (repackaged by codelibs, Apache-2.0) for 7.10.2 alone.
func modules(version string) ([]module, error) {
	switch version {
	case "7.17.29":
		return []module{{Name: "reindex", Class: "org.elasticsearch.reindex.ReindexPlugin", Isolated: true,
			Group: "org.elasticsearch.plugin", Artifact: "reindex-client", Policy: connectPolicy}}, nil
	case "7.10.2":
		const codelibs = "org.codelibs.elasticsearch.module"
		return []module{
			{Name: "reindex", Class: "org.elasticsearch.index.reindex.ReindexPlugin",
				Group: "org.elasticsearch.plugin", Artifact: "reindex-client", Policy: connectPolicy},
			{Name: "lang-painless", Class: "org.elasticsearch.painless.PainlessPlugin",
				Group: codelibs, Artifact: "lang-painless", Policy: scriptPolicy},
			{Name: "analysis-common", Class: "org.elasticsearch.analysis.common.CommonAnalysisPlugin", Extends: "lang-painless",
				Group: codelibs, Artifact: "analysis-common"},
			{Name: "ingest-common", Class: "org.elasticsearch.ingest.common.IngestCommonPlugin", Extends: "lang-painless",
				Group: codelibs, Artifact: "ingest-common"},
		}, nil
	}
	return nil, fmt.Errorf("elasticsearch %s: only %s can be made from Maven artifacts", version, strings.Join(Versions[:], " and "))
}

//go:embed recipe.tmpl
var recipeFS embed.FS

// Check says what this machine lacks: Java 17, Maven, or both; nil when it lacks nothing.
func Check() error {
	_, javaErr := javaHome(context.Background())
	return errors.Join(javaErr, checkMaven())
}

func checkMaven() error {
	if _, err := exec.LookPath("mvn"); err != nil {
		return fmt.Errorf("a real Elasticsearch is fetched with Maven, and mvn is not on the PATH (Debian and Ubuntu: apt-get install maven): %w", err)
	}
	return nil
}

// javaHome finds a Java 17: newer ones have lost the security manager that Elasticsearch 7 needs, older ones are not what the recipe was proved with.
func javaHome(ctx context.Context) (string, error) {
	candidates := []string{"java"}
	if home := os.Getenv("JAVA_HOME"); home != "" {
		candidates = slices.Insert(candidates, 0, filepath.Join(home, "bin", "java"))
	}
	for _, pattern := range []string{"/usr/lib/jvm/*17*/bin/java", "/Library/Java/JavaVirtualMachines/*17*/Contents/Home/bin/java"} {
		found, _ := filepath.Glob(pattern)
		candidates = append(candidates, found...)
	}
	return findJava(ctx, candidates)
}

func findJava(ctx context.Context, candidates []string) (home string, err error) {
	for _, java := range candidates {
		out, err := exec.CommandContext(ctx, java, "-XshowSettings:properties", "-version").CombinedOutput()
		if err != nil {
			continue
		}
		properties := map[string]string{}
		for line := range strings.Lines(string(out)) {
			if key, value, ok := strings.Cut(line, " = "); ok {
				properties[strings.TrimSpace(key)] = strings.TrimSpace(value)
			}
		}
		if properties["java.specification.version"] == "17" {
			return properties["java.home"], nil
		}
	}
	return "", fmt.Errorf("a real Elasticsearch needs Java 17, and none is at JAVA_HOME, on the PATH or in the usual places (Debian and Ubuntu: apt-get install openjdk-17-jre-headless); looked at %s", strings.Join(candidates, ", "))
}

// DefaultCache is eslink/elasticsearch under the user's cache directory. Root's own is closed to the unprivileged user that runs the server, so root gets /var/cache.
func DefaultCache() (string, error) {
	if os.Geteuid() == 0 && os.Getenv("XDG_CACHE_HOME") == "" {
		return "/var/cache/eslink/elasticsearch", nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("cache for elasticsearch: %w", err)
	}
	return filepath.Join(dir, "eslink", "elasticsearch"), nil
}

// Prepare fetches the version with Maven and makes a distribution of it under cacheDir ("": DefaultCache), or returns the one made before.
// Any number of callers, in any number of processes, may prepare at once: one works, the others wait for it or for ctx. What is cached needs no Maven and no network.
func Prepare(ctx context.Context, version, cacheDir string) (Distribution, error) {
	d, err := prepare(ctx, version, cacheDir)
	if err != nil {
		return Distribution{}, fmt.Errorf("prepare elasticsearch %s: %w", version, err)
	}
	return d, nil
}

func prepare(ctx context.Context, version, cacheDir string) (Distribution, error) {
	mods, err := modules(version)
	if err != nil {
		return Distribution{}, err
	}
	if cacheDir == "" {
		if cacheDir, err = DefaultCache(); err != nil {
			return Distribution{}, err
		}
	}
	if cacheDir, err = filepath.Abs(cacheDir); err != nil {
		return Distribution{}, err
	}
	if err := os.MkdirAll(cacheDir, 0o755); err != nil {
		return Distribution{}, err
	}
	files, err := render(version, mods)
	if err != nil {
		return Distribution{}, err
	}
	// The name carries the recipe's hash, so that a changed recipe does not meet what an older one made.
	recipe := sha256.New()
	for _, name := range sortedKeys(files) {
		fmt.Fprintf(recipe, "%s\n%s\n", name, files[name])
	}
	d := Distribution{Version: version, Security: version == "7.17.29",
		Dir: filepath.Join(cacheDir, fmt.Sprintf("%s-%.4x", version, recipe.Sum(nil)))}

	unlock, err := lock(ctx, d.Dir+".lock")
	if err != nil {
		return Distribution{}, err
	}
	defer unlock()
	if _, err := os.Stat(d.Dir); err == nil {
		return d, nil
	}
	if err := checkMaven(); err != nil {
		return Distribution{}, err
	}
	work, err := os.MkdirTemp(cacheDir, ".making-")
	if err != nil {
		return Distribution{}, err
	}
	defer os.RemoveAll(work)
	if err := fetch(ctx, work, files); err != nil {
		return Distribution{}, err
	}
	home := filepath.Join(work, "home")
	if err := assemble(work, home, version, mods); err != nil {
		return Distribution{}, err
	}
	return d, os.Rename(home, d.Dir) // whole or not at all
}

// render gives the files that Maven and Elasticsearch read: one pom for the archive and one per module, so that each module's dependencies land in a directory of
// their own, below an aggregating pom; and each module's descriptor and policy.
func render(version string, mods []module) (map[string]string, error) {
	tmpl, err := template.ParseFS(recipeFS, "recipe.tmpl")
	if err != nil {
		return nil, err
	}
	files := map[string]string{}
	add := func(path, name string, data any) {
		var out bytes.Buffer
		err = errors.Join(err, tmpl.ExecuteTemplate(&out, name, data))
		files[path] = out.String()
	}
	add("pom.xml", "parent", mods)
	add("archive/pom.xml", "archive", version)
	for _, m := range mods {
		data := map[string]any{"Module": m, "Version": version}
		add(m.Name+"/pom.xml", "module", data)
		add(m.Name+"/plugin-descriptor.properties", "descriptor", data)
		if m.Policy != "" {
			files[m.Name+"/plugin-security.policy"] = m.Policy
		}
	}
	return files, err
}

func fetch(ctx context.Context, work string, files map[string]string) error {
	for name, content := range files {
		path := filepath.Join(work, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return err
		}
	}
	cmd := exec.CommandContext(ctx, "mvn", "-q", "-B", "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies")
	cmd.Dir = work
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("mvn could not fetch the artifacts: %w\n%s", err, tail(string(out), 15))
	}
	return nil
}

// jars is where copy-dependencies puts what a pom names.
func jars(work, project string) string { return filepath.Join(work, project, "target", "dependency") }

func assemble(work, home, version string, mods []module) error {
	archive, err := zip.OpenReader(filepath.Join(jars(work, "archive"), "elasticsearch-"+version+".zip"))
	if err != nil {
		return err
	}
	defer archive.Close()
	tree, err := fs.Sub(archive, "elasticsearch-"+version)
	if err != nil {
		return err
	}
	if err := os.CopyFS(home, tree); err != nil {
		return err
	}
	for _, m := range mods {
		dir := filepath.Join(home, "modules", m.Name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		if err := copyJars(jars(work, m.Name), dir, filepath.Join(home, "lib")); err != nil {
			return fmt.Errorf("module %s: %w", m.Name, err)
		}
		for _, name := range []string{"plugin-descriptor.properties", "plugin-security.policy"} {
			if err := os.Rename(filepath.Join(work, m.Name, name), filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	// Whatever the umask: another user than the one who prepares may run the server.
	return filepath.WalkDir(home, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		mode := info.Mode().Perm() | 0o444
		if mode&0o111 != 0 {
			mode |= 0o111
		}
		return os.Chmod(path, mode)
	})
}

// copyJars moves a module's jars, but for those the server has in lib: it refuses to start when a class comes twice ("jar hell").
func copyJars(from, to, lib string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if _, err := os.Stat(filepath.Join(lib, e.Name())); err == nil {
			continue
		}
		if err := os.Rename(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// lock takes an exclusive lock on the file; the kernel drops it when its holder dies.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("wait for another preparation that holds %s: %w", path, ctx.Err())
		case <-tick.C:
		}
	}
}
