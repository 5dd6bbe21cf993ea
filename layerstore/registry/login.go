package registry

import (
	"context"
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
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("%s: user name or password is wrong", host)
	}
	return r.refused(ctx, resp, "login")
}
