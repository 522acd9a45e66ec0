//go:build !unix

package exchangetest

// lockFolder does nothing where there is no flock: two processes on one folder are the caller's to avoid.
func lockFolder(string) (release func() error, err error) {
	return func() error { return nil }, nil
}
