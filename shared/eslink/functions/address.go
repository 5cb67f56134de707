package functions

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Address is where a local cloud is, and a key that opens it. `localtest serve`
// keeps it in a file that its user alone can read.
type Address struct {
	Endpoint        string `json:"endpoint"` // of Function Compute's API, a URL
	Region          string `json:"region"`
	AccountID       string `json:"accountId"`
	AccessKeyID     string `json:"accessKeyId"`
	AccessKeySecret string `json:"accessKeySecret"`
	SecurityToken   string `json:"securityToken,omitempty"`
}

// AddressFile is where the address is kept in a user's cache directory.
func AddressFile(cache string) string { return filepath.Join(cache, "eslink", "serve.json") }

// ErrNoLocal says that no local cloud has left its address.
var ErrNoLocal = errors.New("no local cloud is running")

// WriteAddress keeps an address under a cache directory, readable by its user
// alone, and returns what takes it away again.
func WriteAddress(cache string, a Address) (remove func(), err error) {
	file := AddressFile(cache)
	raw, err := json.Marshal(a)
	if err != nil {
		return nil, fmt.Errorf("encode address: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return nil, fmt.Errorf("keep address: %w", err)
	}
	temporary, err := os.CreateTemp(filepath.Dir(file), "serve-*") // 0600
	if err != nil {
		return nil, fmt.Errorf("keep address: %w", err)
	}
	_, err = temporary.Write(raw)
	if err := errors.Join(err, temporary.Close()); err != nil {
		return nil, fmt.Errorf("keep address: %w", err)
	}
	if err := os.Rename(temporary.Name(), file); err != nil {
		return nil, fmt.Errorf("keep address: %w", err)
	}
	return func() {
		// A later serve may have left its own.
		if now, err := ReadAddress(cache); err == nil && now == a {
			os.Remove(file)
		}
	}, nil
}

// ReadAddress reads what WriteAddress has kept, or returns ErrNoLocal.
func ReadAddress(cache string) (Address, error) {
	var a Address
	raw, err := os.ReadFile(AddressFile(cache))
	if errors.Is(err, fs.ErrNotExist) {
		return a, ErrNoLocal
	}
	if err != nil {
		return a, fmt.Errorf("read address: %w", err)
	}
	if err := json.Unmarshal(raw, &a); err != nil {
		return a, fmt.Errorf("read address %s: %w", AddressFile(cache), err)
	}
	return a, nil
}
