package exchangetest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strconv"
	"sync"

	"github.com/licet-project/licet/shared/exchange"
)

// record is one change and the answer that tells of it, in one line of the journal: both are there after a crash, or
// neither is.
type record struct {
	Message exchange.Digest `json:"message,omitempty"` // what is answered; empty for a release and for forget-right
	Answer  *answer         `json:"answer,omitempty"`
	Issued  *issued         `json:"issued,omitempty"`
	Release *released       `json:"release,omitempty"`
	Account *account        `json:"account,omitempty"` // the host as it is from now on; nil if nothing changed
}

// answer is what was said, to the byte.
type answer struct {
	Status int    `json:"status"`
	Body   []byte `json:"body"`
}

// issued is a response that a confirmation can name.
type issued struct {
	Host     string          `json:"host"`
	Sequence int64           `json:"sequence"`
	Response exchange.Digest `json:"response"`
	Order    exchange.Order  `json:"order"`
}

// released is a release that was done, by the caller's key.
type released struct {
	Host  string         `json:"host"`
	Key   string         `json:"key"`
	Order exchange.Order `json:"order"`
	Take  bool           `json:"take"`
}

// place is where a record stands in the journal, or the record itself if nothing is kept on disk.
type place struct {
	at     int64
	size   int
	memory *record
}

// journal is an append-only file of records, each a line: CRC-32C in hexadecimal, a space, JSON. append is called under
// the server's lock; sync may be called by many at once, and one of them syncs for all who wait. Without a file it keeps
// nothing. After the first error it takes nothing more: what is on disk is then unknown until the file is read again.
type journal struct {
	file *os.File

	mu     sync.Mutex // guards end and failed
	end    int64
	failed error

	syncing sync.Mutex // held while one caller syncs; guards synced
	synced  int64
}

const crcSize = 9 // of the checksum and the space after it

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// openJournal reads every record and stands at the end. A last line that is not whole was never acknowledged to anybody:
// it is cut off. A damaged line in between is an error.
func openJournal(path string, apply func(record, place) error) (*journal, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the journal: %w", err)
	}
	j := &journal{file: file}
	if err := j.read(apply); err != nil {
		return nil, errors.Join(fmt.Errorf("read the journal %s: %w", path, err), file.Close())
	}
	return j, nil
}

func (j *journal) read(apply func(record, place) error) error {
	reader := bufio.NewReaderSize(j.file, 1<<16)
	var at int64
	for {
		line, err := reader.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		r, err := decodeRecord(line)
		if err != nil {
			if _, more := reader.ReadByte(); more == nil {
				return fmt.Errorf("the record at byte %d: %w", at, err)
			}
			break
		}
		if err := apply(r, place{at: at, size: len(line)}); err != nil {
			return fmt.Errorf("the record at byte %d: %w", at, err)
		}
		at += int64(len(line))
	}
	j.end, j.synced = at, at
	if err := j.file.Truncate(at); err != nil {
		return err
	}
	_, err := j.file.Seek(at, io.SeekStart)
	return err
}

// append writes the record; it is durable once sync of the returned end is done.
func (j *journal) append(r record) (place, error) {
	if j == nil {
		return place{memory: &r}, nil
	}
	line, err := encodeRecord(r)
	if err != nil {
		return place{}, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.failed != nil {
		return place{}, j.failed
	}
	if _, err := j.file.Write(line); err != nil {
		j.failed = fmt.Errorf("write the journal: %w", err)
		return place{}, j.failed
	}
	p := place{at: j.end, size: len(line)}
	j.end += int64(len(line))
	return p, nil
}

// sync returns once everything that was written before the call is on disk.
func (j *journal) sync() error {
	if j == nil {
		return nil
	}
	want, err := j.written()
	if err != nil {
		return err
	}
	j.syncing.Lock()
	defer j.syncing.Unlock()
	if j.synced >= want {
		return nil
	}
	if want, err = j.written(); err != nil {
		return err
	}
	if err := j.file.Sync(); err != nil {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.failed = fmt.Errorf("sync the journal: %w", err)
		return j.failed
	}
	j.synced = want
	return nil
}

func (j *journal) written() (int64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.end, j.failed
}

// at returns the record at the place.
func (j *journal) at(p place) (record, error) {
	if p.memory != nil {
		return *p.memory, nil
	}
	line := make([]byte, p.size)
	if _, err := j.file.ReadAt(line, p.at); err != nil {
		return record{}, fmt.Errorf("read the journal: %w", err)
	}
	r, err := decodeRecord(line)
	if err != nil {
		return record{}, fmt.Errorf("read the journal: %w", err)
	}
	return r, nil
}

func (j *journal) close() error {
	if j == nil {
		return nil
	}
	return errors.Join(j.sync(), j.file.Close())
}

func encodeRecord(r record) ([]byte, error) {
	data, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode a record: %w", err)
	}
	return fmt.Appendf(make([]byte, 0, len(data)+crcSize+1), "%08x %s\n", crc32.Checksum(data, castagnoli), data), nil
}

// ErrDamaged means that the data folder holds what no kill leaves behind: the disk or somebody changed it.
var ErrDamaged = errors.New("it is damaged")

func decodeRecord(line []byte) (record, error) {
	line = bytes.TrimSuffix(line, []byte("\n"))
	var r record
	if len(line) < crcSize {
		return r, ErrDamaged
	}
	sum, err := strconv.ParseUint(string(line[:crcSize-1]), 16, 32)
	if err != nil || uint32(sum) != crc32.Checksum(line[crcSize:], castagnoli) || json.Unmarshal(line[crcSize:], &r) != nil {
		return r, ErrDamaged
	}
	return r, nil
}
