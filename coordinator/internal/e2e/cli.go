package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// CLI runs a command line program to its end.
type CLI struct {
	Program string
	URL     string // LICET_URL; empty: not set
}

// ExitError is a command that ended with a code other than 0.
type ExitError struct {
	Command string
	Code    int
	Stdout  string
	Stderr  string
}

func (e *ExitError) Error() string {
	return fmt.Sprintf("%s: exit %d: %s", e.Command, e.Code, strings.TrimSpace(e.Stderr))
}

// Run returns what the command printed. A code other than 0 is an *ExitError.
func (c CLI) Run(ctx context.Context, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	command := exec.CommandContext(ctx, c.Program, args...)
	command.Env = os.Environ()
	if c.URL != "" {
		command.Env = append(command.Env, "LICET_URL="+c.URL)
	}
	command.Stdout, command.Stderr = &stdout, &stderr
	err := command.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		name := filepath.Base(c.Program) + " " + strings.Join(args, " ")
		return stdout.String(), &ExitError{Command: name, Code: exit.ExitCode(), Stdout: stdout.String(), Stderr: stderr.String()}
	}
	if err != nil {
		return "", fmt.Errorf("run %s: %w", filepath.Base(c.Program), err)
	}
	return stdout.String(), nil
}

// LastLine is the last line of a command's output.
func LastLine(out string) string {
	lines := strings.Split(strings.TrimRight(out, "\n"), "\n")
	return lines[len(lines)-1]
}

// fetchFile writes what a GET answers.
func fetchFile(ctx context.Context, url, path string) error {
	body, err := call(ctx, http.MethodGet, url, "")
	if err != nil {
		return err
	}
	return os.WriteFile(path, body, 0o600)
}

// trusting is a client that trusts the certificates in a PEM file alone.
func trusting(path string) (*http.Client, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", path)
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}}, nil
}

// call is callWith over plain HTTP.
func call(ctx context.Context, method, url, body string) ([]byte, error) {
	return callWith(ctx, http.DefaultClient, method, url, body)
}

// callWith makes one bounded HTTP call with a JSON body; any answer but 2xx is an error.
func callWith(ctx context.Context, client *http.Client, method, url, body string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(response.Body, 4<<20))
	if err == nil && response.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %s: %s", method, url, response.Status, strings.TrimSpace(string(answer)))
	}
	return answer, err
}
