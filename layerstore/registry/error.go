package registry

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// A StatusError is a registry's refusal.
type StatusError struct {
	Host   string
	Status int    // of HTTP
	What   string // what was asked for: "manifest 3.21 of library/alpine"
	Detail string // the registry's words, or ""
	creds  bool   // there were credentials
	files  []string
}

func (e *StatusError) Error() string {
	var text string
	switch e.Status {
	case http.StatusUnauthorized:
		text = fmt.Sprintf("%s: not authorised", e.Host)
		if !e.creds {
			text += fmt.Sprintf(": no credentials for %s in %s", e.Host, strings.Join(e.files, ", "))
		}
		return text
	case http.StatusForbidden:
		text = fmt.Sprintf("%s: access to %s denied", e.Host, e.What)
	case http.StatusNotFound:
		text = fmt.Sprintf("%s: no %s", e.Host, e.What)
	case http.StatusTooManyRequests:
		text = fmt.Sprintf("%s: too many requests", e.Host)
	default:
		text = fmt.Sprintf("%s: %s: %d %s", e.Host, e.What, e.Status, http.StatusText(e.Status))
	}
	if e.Detail != "" && e.Status != http.StatusNotFound {
		text += ": " + e.Detail
	}
	return text
}

// Code is a stable word for programs.
func (e *StatusError) Code() string {
	switch e.Status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return "denied"
	case http.StatusNotFound:
		return "not-found"
	case http.StatusTooManyRequests:
		return "rate-limit"
	}
	return "registry"
}

// Hint is what may help, or "".
func (e *StatusError) Hint() string {
	if e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden {
		return "mica login " + e.Host
	}
	return ""
}

// maxDetail bounds what is read of a refusal, in bytes.
const maxDetail = 8 << 10

// refused makes an error of a response, which it closes.
func (r *Repository) refused(ctx context.Context, resp *http.Response, what string) error {
	defer resp.Body.Close()
	e := &StatusError{Host: r.host, Status: resp.StatusCode, What: what, files: r.creds.paths}
	if e.Status == http.StatusUnauthorized {
		e.creds = r.hasCredentials(ctx)
	}
	var body struct {
		Errors []struct{ Code, Message string }
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxDetail))
	if err == nil && json.Unmarshal(raw, &body) == nil && len(body.Errors) > 0 {
		e.Detail = oneLine(body.Errors[0].Message)
	}
	return e
}

func (r *Repository) hasCredentials(ctx context.Context) bool {
	cred, err := r.creds.find(ctx, r.host, r.name)
	return err == nil && cred != auth.EmptyCredential
}

func oneLine(s string) string {
	return strings.Join(strings.Fields(s), " ")
}

// A NetworkError says that a registry could not be reached, or broke off.
type NetworkError struct {
	Host string
	Err  error
}

func (e *NetworkError) Error() string { return fmt.Sprintf("cannot reach %s: %v", e.Host, e.Err) }
func (e *NetworkError) Unwrap() error { return e.Err }

// Code is a stable word for programs.
func (e *NetworkError) Code() string { return "network" }

// Hint is what may help, or "".
func (e *NetworkError) Hint() string {
	var dns *net.DNSError
	switch {
	case errors.As(e.Err, new(x509.UnknownAuthorityError)):
		return "/etc/docker/certs.d/" + e.Host + "/ca.crt, or --tls-verify=false"
	case errors.Is(e.Err, http.ErrSchemeMismatch):
		return "it speaks plain HTTP: --tls-verify=false"
	case errors.As(e.Err, &dns):
		return "offline? load an archive: mica load -i FILE"
	}
	return ""
}

// failed makes an error of a request that got no answer. Its address is left
// out: where a blob is redirected to, that is a secret.
func (r *Repository) failed(ctx context.Context, err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	for u := (*url.Error)(nil); errors.As(err, &u); {
		err = u.Err
	}
	var status *StatusError
	var known *NetworkError
	var token *errcode.ErrorResponse // of the server that gives tokens
	switch {
	case errors.Is(err, auth.ErrBasicCredentialNotFound):
		return &StatusError{Host: r.host, Status: http.StatusUnauthorized, What: r.name, files: r.creds.paths}
	case errors.As(err, &token):
		return &StatusError{Host: r.host, Status: token.StatusCode, What: "token for " + r.name, creds: r.hasCredentials(ctx), files: r.creds.paths}
	}
	if errors.As(err, &status) || errors.As(err, &known) {
		return err
	}
	var dns *net.DNSError
	if errors.As(err, &dns) && dns.IsNotFound {
		err = &shortError{"no such host", dns}
	}
	return &NetworkError{r.host, err}
}

// A shortError is an error in fewer words.
type shortError struct {
	text string
	error
}

func (e *shortError) Error() string { return e.text }
func (e *shortError) Unwrap() error { return e.error }
