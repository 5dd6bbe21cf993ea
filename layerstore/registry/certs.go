package registry

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"
)

// addCerts adds authorities and a certificate of our own, from where docker and
// podman look for them (docker's certs.d: HOST[:PORT]/{*.crt,*.cert,*.key}).
func addCerts(config *tls.Config, host, only string) error {
	dirs := []string{filepath.Join("/etc/containers/certs.d", host), filepath.Join("/etc/docker/certs.d", host)}
	if own, err := os.UserConfigDir(); err == nil {
		dirs = append(dirs, filepath.Join(own, "containers/certs.d", host))
	}
	if only != "" {
		dirs = []string{only}
	}
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if errors.Is(err, iofs.ErrNotExist) && only == "" {
			continue
		}
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := addCert(config, filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

func addCert(config *tls.Config, path string) error {
	switch filepath.Ext(path) {
	case ".crt":
		return addAuthority(config, path)
	case ".cert":
		return addPair(config, path, strings.TrimSuffix(path, ".cert")+".key")
	}
	return nil
}

func addAuthority(config *tls.Config, path string) error {
	pem, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if config.RootCAs == nil {
		if config.RootCAs, err = x509.SystemCertPool(); err != nil {
			config.RootCAs = x509.NewCertPool()
		}
	}
	if !config.RootCAs.AppendCertsFromPEM(pem) {
		return fmt.Errorf("%s: holds no certificate", path)
	}
	return nil
}

func addPair(config *tls.Config, cert, key string) error {
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("%s: %w", cert, err)
	}
	config.Certificates = append(config.Certificates, pair)
	return nil
}
