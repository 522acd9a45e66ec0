package dbtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/coordinator/internal/db"
)

// notInstalled is printed word for word; the build counts it.
const notInstalled = "skipped: PostgreSQL is not installed (scripts/deps installs it)"

// cluster is a PostgreSQL server of this test process.
type cluster struct {
	address  string // host:port
	password string
	alive    *os.File // while it is open the server runs; the kernel closes it when this process ends, however it ends
	template sync.Once
}

// clusters are started once per test process and end with it: there is no other moment at which no test needs them.
var clusters = map[bool]func() (*cluster, error){
	false: sync.OnceValues(func() (*cluster, error) { return start(false) }),
	true:  sync.OnceValues(func() (*cluster, error) { return start(true) }),
}

var errNotInstalled = errors.New(notInstalled)

func postgres(t testing.TB, durable bool) *cluster {
	t.Helper()
	c, err := clusters[durable]()
	if errors.Is(err, errNotInstalled) && os.Getenv("LICET_REQUIRE") != "all" {
		t.Skip(notInstalled)
	}
	require.NoError(t, err)
	return c
}

func (c *cluster) dsn(database string) string {
	return fmt.Sprintf("postgres://postgres:%s@%s/%s?sslmode=disable", c.password, c.address, database)
}

// database makes a database out of the template, which was migrated once, and drops it when the test ends.
func (c *cluster) database(t testing.TB) string {
	t.Helper()
	c.template.Do(func() {
		c.exec(t, "CREATE DATABASE licet_template")
		d, err := db.Open(context.Background(), c.dsn("licet_template"), db.Options{})
		require.NoError(t, err)
		require.NoError(t, d.Close())
	})
	name := "licet_" + strings.ToLower(rand.Text())
	c.exec(t, "CREATE DATABASE "+name+" TEMPLATE licet_template")
	t.Cleanup(func() { c.exec(t, "DROP DATABASE "+name+" WITH (FORCE)") })
	return c.dsn(name)
}

func (c *cluster) exec(t testing.TB, statement string) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, c.dsn("postgres"))
	require.NoError(t, err)
	_, err = conn.Exec(ctx, statement)
	require.NoError(t, errors.Join(err, conn.Close(ctx)))
}

// start makes a data folder and runs a server on it. Its guardian is a shell that waits until this process has ended, then
// ends the server by its process ID and removes the folder.
func start(durable bool) (*cluster, error) {
	binaries, err := find()
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "licet-postgres-*")
	if err != nil {
		return nil, err
	}
	attributes, err := asOrdinaryUser(folder)
	if err == nil {
		var c *cluster
		if c, err = startIn(folder, binaries, attributes, durable); err == nil {
			return c, nil
		}
	}
	return nil, errors.Join(fmt.Errorf("start PostgreSQL: %w", err), os.RemoveAll(folder))
}

func startIn(folder, binaries string, attributes *syscall.SysProcAttr, durable bool) (*cluster, error) {
	c := &cluster{password: rand.Text()}
	secret := filepath.Join(folder, "password")
	if err := os.WriteFile(secret, []byte(c.password), 0o644); err != nil { //nolint:gosec // the folder is 0700, and initdb is another user
		return nil, err
	}
	data := filepath.Join(folder, "data")
	initdb := exec.Command(filepath.Join(binaries, "initdb"), "--no-sync", "--no-instructions", "--username=postgres", "--encoding=UTF8",
		"--locale=C", "--auth-local=reject", "--auth-host=scram-sha-256", "--pwfile="+secret, "-D", data)
	initdb.Dir, initdb.SysProcAttr = folder, attributes
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	var err error
	for range 5 { // somebody may take the port in between
		if err = c.run(folder, binaries, attributes, durable); !errors.Is(err, errPortTaken) {
			break
		}
	}
	return c, err
}

const guardian = `trap '' INT TERM HUP
folder=$1; shift
"$@" & server=$!
read -r answer
kill -QUIT $server 2>/dev/null
wait $server
[ "$answer" = keep ] || { cd / && rm -rf "$folder"; }`

var errPortTaken = errors.New("the port was taken meanwhile")

func (c *cluster) run(folder, binaries string, attributes *syscall.SysProcAttr, durable bool) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	c.address = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	logPath := filepath.Join(folder, "log")
	log, err := os.Create(logPath)
	if err != nil {
		return err
	}
	stdin, alive, err := os.Pipe()
	if err != nil {
		return errors.Join(err, log.Close())
	}
	fsync := "off"
	if durable {
		fsync = "on"
	}
	args := []string{"-c", guardian, "guardian", folder, filepath.Join(binaries, "postgres"), "-D", filepath.Join(folder, "data"), "-p", strconv.Itoa(port)}
	for _, setting := range []string{
		"listen_addresses=127.0.0.1", "unix_socket_directories=" + folder, "fsync=" + fsync, "full_page_writes=" + fsync,
		"max_connections=200", "shared_buffers=32MB", "autovacuum=off",
	} {
		args = append(args, "-c", setting)
	}
	shell := exec.Command("/bin/sh", args...)
	shell.Dir, shell.SysProcAttr, shell.Stdin, shell.Stdout, shell.Stderr = folder, attributes, stdin, log, log
	err = shell.Start()
	if err = errors.Join(err, stdin.Close(), log.Close()); err != nil {
		return errors.Join(err, alive.Close())
	}
	if err := c.wait(logPath); err != nil {
		_, said := alive.WriteString("keep\n")
		return errors.Join(err, said, alive.Close(), shell.Wait())
	}
	c.alive = alive
	return nil
}

// wait returns when the server lets us in.
func (c *cluster) wait(logPath string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		conn, err := pgx.Connect(ctx, c.dsn("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		log, _ := os.ReadFile(logPath)
		switch text := string(log); {
		case strings.Contains(text, "could not bind"):
			return errPortTaken
		case ctx.Err() != nil, strings.Contains(text, "database system is shut down"):
			return fmt.Errorf("%w: %s", err, text)
		}
		select {
		case <-again.C:
		case <-ctx.Done():
		}
	}
}

func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return listener.Addr().(*net.TCPAddr).Port, listener.Close()
}

// find is the folder with PostgreSQL's programs.
func find() (string, error) {
	candidates, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if initdb, err := exec.LookPath("initdb"); err == nil {
		candidates = append([]string{filepath.Dir(initdb)}, candidates...)
	}
	for _, folder := range candidates {
		if _, err := os.Stat(filepath.Join(folder, "postgres")); err == nil {
			return folder, nil
		}
	}
	return "", errNotInstalled
}

// asOrdinaryUser lets root's tests run a server, which refuses to run as root. It has a process group of its own, so that
// Ctrl-C ends it by way of its guardian.
func asOrdinaryUser(folder string) (*syscall.SysProcAttr, error) {
	attributes := &syscall.SysProcAttr{Setpgid: true}
	if os.Getuid() != 0 {
		return attributes, nil
	}
	account, err := user.Lookup("postgres")
	if err != nil {
		account, err = user.Lookup("nobody")
	}
	if err != nil {
		return nil, fmt.Errorf("find a user to run as: %w", err)
	}
	uid, err := strconv.ParseUint(account.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(account.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	attributes.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return attributes, os.Chown(folder, int(uid), int(gid))
}
