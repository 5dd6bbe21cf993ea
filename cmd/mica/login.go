package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"mica/layerstore/registry"
)

func newLogin(std streams) *cobra.Command {
	l := &loginFlags{std: std}
	cmd := &cobra.Command{
		Use:   "login [flags] [REGISTRY]",
		Short: "Keep credentials for a registry",
		Long: `Login asks for a user and a password, tries them at REGISTRY, docker.io unless
given, and keeps them: in the first file of podman's and docker's that is there,
else in ~/.docker/config.json, through the credential helper that it names.`,
		Example: `  mica login registry.example.org
  pass registry | mica login -u me --password-stdin registry.example.org
  mica login --authfile auth.json localhost:5000`,
		RunE: func(cmd *cobra.Command, args []string) error {
			host := registryOf(args)
			if err := l.run(cmd.Context(), host); err != nil {
				return &argError{host, err}
			}
			return nil
		},
	}
	l.registry.add(cmd.Flags())
	cmd.Flags().StringVarP(&l.user, "username", "u", "", "the `USER`")
	cmd.Flags().StringVarP(&l.password, "password", "p", "", "the `PASSWORD`, which others see in the list of processes")
	cmd.Flags().BoolVar(&l.stdin, "password-stdin", false, "read the password from standard input")
	return cmd
}

type loginFlags struct {
	registry       registryFlags
	std            streams
	user, password string
	stdin          bool
}

// registryOf gives the registry that is meant, as names have it.
func registryOf(args []string) string {
	if len(args) == 0 {
		return "docker.io"
	}
	host := strings.TrimPrefix(strings.TrimPrefix(args[0], "https://"), "http://")
	host, _, _ = strings.Cut(host, "/")
	return host
}

func (l *loginFlags) run(ctx context.Context, host string) error {
	if err := l.ask(); err != nil {
		return err
	}
	file, err := registry.Login(ctx, host, l.user, l.password, l.registry.options(l.registry.verify))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(l.std.err, "logged in to %s as %s; credentials are in %s\n", host, printable(l.user), file)
	return err
}

// ask reads what was not given.
func (l *loginFlags) ask() error {
	lines := bufio.NewReader(l.std.in)
	if l.stdin {
		if l.user == "" || l.password != "" {
			return &usageError{err: errors.New("--password-stdin wants --username, and no --password")}
		}
		line, err := lines.ReadString('\n')
		if l.password = strings.TrimRight(line, "\r\n"); l.password == "" {
			return fmt.Errorf("no password on standard input: %w", err)
		}
		return nil
	}
	if l.user != "" && l.password != "" {
		return nil
	}
	in, ok := l.std.in.(*os.File)
	if !ok || !isTerminal(in) {
		return &usageError{err: errors.New("no terminal to ask at"), hint: "mica login -u USER --password-stdin"}
	}
	if l.user == "" {
		fmt.Fprint(l.std.err, "User: ")
		line, err := lines.ReadString('\n')
		if err != nil {
			return err
		}
		l.user = strings.TrimSpace(line)
	}
	if l.password == "" {
		fmt.Fprint(l.std.err, "Password: ")
		secret, err := term.ReadPassword(int(in.Fd()))
		fmt.Fprintln(l.std.err)
		if err != nil {
			return err
		}
		l.password = string(secret)
	}
	return nil
}

func newLogout(std streams) *cobra.Command {
	var flags registryFlags
	cmd := &cobra.Command{
		Use:   "logout [flags] [REGISTRY]",
		Short: "Forget the credentials for a registry",
		Long: `Logout drops what login, docker login or podman login has kept for REGISTRY,
docker.io unless given, in all files that are looked into.`,
		Example: `  mica logout registry.example.org
  mica logout
  mica logout --authfile auth.json localhost:5000`,
		RunE: func(cmd *cobra.Command, args []string) error {
			host := registryOf(args)
			files, err := registry.Logout(cmd.Context(), host, flags.options(true))
			if err == nil && len(files) == 0 {
				err = &notFoundError{"not logged in"}
			}
			if err != nil {
				return &argError{host, err}
			}
			_, err = fmt.Fprintf(std.err, "removed the credentials for %s from %s\n", host, strings.Join(files, ", "))
			return err
		},
	}
	cmd.Flags().StringVar(&flags.authFile, "authfile", "", "drop them from `FILE` alone")
	return cmd
}
