package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// maxFile bounds a file that is read for an import, in bytes; the coordinator has limits of its own below it.
const maxFile = 32 << 20

// read reads the file of an argument, or standard input if it is a hyphen.
func (s *session) read(name string) ([]byte, error) {
	from := s.in
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, s.failed("read "+name, plainFile(err))
		}
		defer func() { _ = file.Close() }() // it was only read
		from = file
	}
	content, err := io.ReadAll(io.LimitReader(from, maxFile+1))
	if err == nil && len(content) > maxFile {
		err = fmt.Errorf("it is larger than %d MiB", maxFile>>20)
	}
	if err != nil {
		return nil, s.failed("read "+name, plainFile(err))
	}
	return content, nil
}

// plainFile drops operation and path, which the caller says in other words.
func plainFile(err error) error {
	if inner := (*os.PathError)(nil); errors.As(err, &inner) {
		return inner.Err
	}
	return err
}
