package db

import "fmt"

// OpenError is why a database could not be opened.
type OpenError struct {
	Database string // the file, or host and name; never a password
	Err      error
	hint     string
}

func (e *OpenError) Error() string { return fmt.Sprintf("open the database %s: %v", e.Database, e.Err) }

func (e *OpenError) Unwrap() error { return e.Err }

// Hint is what a person can do about it; it may be empty.
func (e *OpenError) Hint() string { return e.hint }
