package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"oras.land/oras-go/v2/registry/remote/auth"
)

// checkLogin asks a registry whether it takes credentials.
func checkLogin(ctx context.Context, host string, cred auth.Credential, o Options) error {
	way, err := routes(host, "")
	if err != nil {
		return err
	}
	r := &Repository{host: host, creds: newCredentialFiles(o.AuthFile)}
	find := func(context.Context, string) (auth.Credential, error) { return cred, nil }
	if err := r.connect(ctx, find, way.push, o); err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.root, nil)
	if err != nil {
		return err
	}
	resp, err := r.do(req)
	var status *StatusError // of the server that gives tokens
	if errors.As(err, &status) && (status.Status == http.StatusUnauthorized || status.Status == http.StatusForbidden) {
		return wrongPassword(host)
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusUnauthorized, http.StatusForbidden:
		return wrongPassword(host)
	}
	return r.refused(ctx, resp, "login")
}

func wrongPassword(host string) error {
	return fmt.Errorf("%s: user name or password is wrong", host)
}
