//go:build !unix

package coordinator

import "os"

// lock does nothing where there is no flock: coordinators run on Unix.
func lock(*os.File) error { return nil }
