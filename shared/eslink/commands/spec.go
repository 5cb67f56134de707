package commands

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"eslink/events"
	"eslink/shared/eslink/specs"
)

// schemaFile is what init writes beside a spec, and what the spec's first line
// names, so that an editor completes and checks it.
const schemaFile = "eslink.spec.schema.json"

func (s *session) initCommand() *cobra.Command {
	var dir string
	var force bool
	c := &cobra.Command{
		Use:       "init SCENARIO",
		Short:     "Write a commented spec, its schema and a .env to begin with",
		Long:      "Write a commented spec of a scenario (" + strings.Join(specs.Scenarios(), ", ") + "),\nthe JSON Schema that editors check it with, and a .env to fill in. Files that\nexist are left as they are.",
		ValidArgs: specs.Scenarios(),
		Args:      exactly("a scenario", 1),
		RunE: func(c *cobra.Command, args []string) error {
			spec, ok := specs.Template(args[0])
			if !ok {
				return usageError{fmt.Errorf("there is no scenario %s: use one of %s", args[0], strings.Join(specs.Scenarios(), ", "))}
			}
			schema, err := events.Schema("spec.schema.json")
			if err != nil {
				return err
			}
			for _, file := range []struct {
				name string
				text []byte
				mode fs.FileMode
			}{{args[0] + ".yaml", spec, 0o644}, {schemaFile, schema, 0o644}, {".env", specs.Environment(), 0o600}} {
				if err := s.write(filepath.Join(dir, file.name), file.text, file.mode, force); err != nil {
					return err
				}
			}
			fmt.Fprintf(s.out, "\nNext: fill in %s, then\n  eslink validate -f %[1]s\n  eslink plan -f %[1]s\n", filepath.Join(dir, args[0]+".yaml"))
			return nil
		},
	}
	c.Flags().StringVar(&dir, "dir", ".", "directory to write to")
	c.Flags().BoolVar(&force, "force", false, "replace files that exist, but for .env")
	return c
}

// write keeps what exists, but if force; a .env holds keys and is always kept.
func (s *session) write(name string, text []byte, mode fs.FileMode, force bool) error {
	flags := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if force && filepath.Base(name) != ".env" {
		flags = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	f, err := os.OpenFile(name, flags, mode)
	if errors.Is(err, fs.ErrExist) {
		fmt.Fprintf(s.out, "kept   %s (it exists)\n", name)
		return nil
	}
	if err != nil {
		return fmt.Errorf("write spec: %w", err)
	}
	_, err = f.Write(text)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	fmt.Fprintf(s.out, "wrote  %s\n", name)
	return nil
}

// readSpec reads a spec, YAML or JSON, from a file or (-) standard input, and
// checks it as the functions will. With region, a spec without one gets it.
func (s *session) readSpec(file, profile string) (json.RawMessage, error) {
	if file == "" {
		return nil, usageError{errors.New("which spec? give -f FILE, or -f - for standard input; eslink init SCENARIO writes one")}
	}
	var raw []byte
	var err error
	if file == "-" {
		raw, err = io.ReadAll(io.LimitReader(s.in, events.MaxSpecBytes+1))
	} else {
		raw, err = os.ReadFile(file)
	}
	if err != nil {
		return nil, fmt.Errorf("read spec: %w", err)
	}
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil, fmt.Errorf("spec %s is empty: eslink init SCENARIO writes one to begin with", file)
	}
	spec := json.RawMessage(raw)
	if !json.Valid(raw) {
		if spec, err = yaml.YAMLToJSON(raw); err != nil {
			return nil, fmt.Errorf("spec %s is neither JSON nor YAML:\n%s", file, yaml.FormatError(err, false, true))
		}
	}
	// What init writes is the spec; what events/samples hold are requests.
	var request struct {
		Action string          `json:"action"`
		Spec   json.RawMessage `json:"spec"`
	}
	if json.Unmarshal(spec, &request) == nil && request.Action != "" && request.Spec != nil {
		spec = request.Spec
	}
	asked := map[string]any{"action": "start", "spec": spec}
	if profile != "" {
		asked = map[string]any{"action": "put-profile", "profile": profile, "spec": spec}
	}
	whole, err := json.Marshal(asked)
	if err != nil {
		return nil, fmt.Errorf("encode spec: %w", err)
	}
	_, err = events.ParseRequest(whole)
	return spec, err
}

func (s *session) validateCommand() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "validate -f FILE",
		Short: "Check a spec in itself; nothing is called",
		Args:  exactly("", 0),
		RunE: func(*cobra.Command, []string) error {
			spec, err := s.readSpec(file, "")
			if err != nil {
				return err
			}
			if s.output != "table" {
				return s.print(spec)
			}
			fmt.Fprintf(s.out, "%s is a valid spec. eslink plan -f %[1]s says what it would do.\n", file)
			return nil
		},
	}
	specFlag(c, &file)
	return c
}

func specFlag(c *cobra.Command, file *string) {
	c.Flags().StringVarP(file, "file", "f", "", "the spec, YAML or JSON; - for standard input")
}

// exactly is cobra.ExactArgs with words that say what is missing.
func exactly(what string, n int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch {
		case len(args) < n:
			return usageError{fmt.Errorf("%s needs %s: %s", c.CommandPath(), what, c.UseLine())}
		case len(args) > n:
			return usageError{fmt.Errorf("%s takes no argument %s", c.CommandPath(), strings.Join(slices.Clone(args[n:]), " "))}
		}
		return nil
	}
}
