package registry

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
)

// credentialFiles are where credentials are looked for, the first found wins.
type credentialFiles struct{ paths []string }

func newCredentialFiles(only string) *credentialFiles {
	if only != "" {
		return &credentialFiles{[]string{only}}
	}
	return &credentialFiles{authFiles()}
}

// authFiles are podman's files, then docker's (containers-auth.json(5)).
func authFiles() []string {
	if file := os.Getenv("REGISTRY_AUTH_FILE"); file != "" {
		return []string{file}
	}
	var files []string
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		files = append(files, filepath.Join(dir, "containers", "auth.json"))
	} else {
		files = append(files, fmt.Sprintf("/run/containers/%d/auth.json", os.Geteuid()))
	}
	if dir, err := os.UserConfigDir(); err == nil {
		files = append(files, filepath.Join(dir, "containers", "auth.json"))
	}
	if docker := dockerConfig(); docker != "" {
		files = append(files, docker)
	}
	return files
}

func dockerConfig() string {
	if dir := os.Getenv("DOCKER_CONFIG"); dir != "" {
		return filepath.Join(dir, "config.json")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".docker", "config.json")
}

// find gives the credentials for a repository; none is no error. The longest
// key that the repository lies below wins, then the host.
func (c *credentialFiles) find(ctx context.Context, host, name string) (auth.Credential, error) {
	for _, path := range c.paths {
		if _, err := os.Stat(path); err != nil {
			continue
		}
		store, err := credentials.NewStore(path, credentials.StoreOptions{})
		if err != nil {
			return auth.EmptyCredential, fmt.Errorf("%s: %w", path, err)
		}
		for _, key := range keys(host, name) {
			cred, err := store.Get(ctx, key)
			if err != nil {
				// A helper that is missing or fails is told, not taken for nobody.
				return auth.EmptyCredential, fmt.Errorf("%s: credentials for %s: %w", path, host, err)
			}
			if cred != auth.EmptyCredential {
				return cred, nil
			}
		}
	}
	return auth.EmptyCredential, nil
}

// keys are those that a repository may be found by.
func keys(host, name string) []string {
	var all []string
	for path := name; path != ""; {
		all = append(all, host+"/"+path)
		cut := strings.LastIndexByte(path, '/')
		path = path[:max(cut, 0)]
	}
	all = append(all, host)
	if server := credentials.ServerAddressFromRegistry(host); server != host {
		all = append(all, server)
	}
	return all
}

// Login keeps credentials for a registry that takes them, and tells in which
// file: the first that is there, else docker's.
func Login(ctx context.Context, host, user, secret string, o Options) (file string, err error) {
	file = o.AuthFile
	if file == "" {
		file = toWrite()
	}
	if file == "" {
		return "", errors.New("no file for credentials: neither HOME nor DOCKER_CONFIG is set")
	}
	if err := checkLogin(ctx, host, auth.Credential{Username: user, Password: secret}, o); err != nil {
		return "", err
	}
	store, err := credentials.NewStore(file, credentials.StoreOptions{AllowPlaintextPut: true})
	if err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	return file, store.Put(ctx, credentials.ServerAddressFromRegistry(host), auth.Credential{Username: user, Password: secret})
}

// Logout drops the credentials for a registry, and tells of which files.
func Logout(ctx context.Context, host string, o Options) (files []string, err error) {
	for _, path := range newCredentialFiles(o.AuthFile).paths {
		if _, err := os.Stat(path); err != nil {
			continue
		}
		store, err := credentials.NewStore(path, credentials.StoreOptions{AllowPlaintextPut: true})
		if err != nil {
			return files, fmt.Errorf("%s: %w", path, err)
		}
		key := credentials.ServerAddressFromRegistry(host)
		cred, err := store.Get(ctx, key)
		if err != nil || cred == auth.EmptyCredential {
			continue
		}
		if err := store.Delete(ctx, key); err != nil {
			return files, fmt.Errorf("%s: %w", path, err)
		}
		files = append(files, path)
	}
	return files, nil
}

func toWrite() string {
	for _, path := range authFiles() {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return dockerConfig()
}
