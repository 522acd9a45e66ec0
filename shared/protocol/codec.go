package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// MaxPayload is the largest payload that anybody looks at, in bytes.
const MaxPayload = 256 << 10

// Why a payload is refused. The words are the values of a metric's label, so they are few and stable.
var (
	ErrTooLarge = errors.New("too large")
	ErrNotJSON  = errors.New("not JSON")
	ErrVersion  = errors.New("unknown version")
	ErrInvalid  = errors.New("invalid document")
)

// Document is anything with a version that can say what is wrong with it.
type Document interface{ problem() error }

// Decode reads a payload: first its size, then its syntax, then its version, then its fields.
func Decode[T Document](payload []byte) (T, error) {
	var document T
	if len(payload) > MaxPayload {
		return document, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(payload), MaxPayload)
	}
	var version struct {
		V *int `json:"v"`
	}
	if err := decodeOne(payload, &version); err != nil {
		return document, err
	}
	if version.V == nil || *version.V != Version {
		return document, fmt.Errorf("%w: this side speaks %d", ErrVersion, Version)
	}
	if err := decodeOne(payload, &document); err != nil {
		return document, err
	}
	return document, invalid(document.problem())
}

// DecodeReport reads the report inside a Reported.
func DecodeReport(raw json.RawMessage) (Report, error) {
	var report Report
	if err := decodeOne(raw, &report); err != nil {
		return report, err
	}
	return report, invalid(report.problem())
}

// Encode writes a document; one that the other side would refuse is an error here already.
func Encode[T Document](document T) ([]byte, error) {
	if err := document.problem(); err != nil {
		return nil, fmt.Errorf("encode %T: %w", document, invalid(err))
	}
	payload, err := json.Marshal(document)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", document, err)
	}
	if len(payload) > MaxPayload {
		return nil, fmt.Errorf("encode %T: %w: %d bytes, at most %d", document, ErrTooLarge, len(payload), MaxPayload)
	}
	// json.Marshal rewrites raw JSON that it did not write itself, and the report's digest is over its exact bytes.
	if reported, ok := any(document).(Reported); ok && !bytes.Contains(payload, reported.Report) {
		return nil, fmt.Errorf("encode %T: %w: the report is not as json.Marshal writes it", document, ErrInvalid)
	}
	return payload, nil
}

// decodeOne reads exactly one JSON value. What is JSON but does not fit a field is invalid.
func decodeOne(data []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	if err := decoder.Decode(into); err != nil {
		if wrongType := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrongType) {
			return fmt.Errorf("%w: %s is not a %s", ErrInvalid, wrongType.Field, wrongType.Type)
		}
		if errors.As(err, new(*json.SyntaxError)) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("%w: %w", ErrNotJSON, err)
		}
		return invalid(err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: something follows the document", ErrNotJSON)
	}
	return nil
}

func invalid(problem error) error {
	if problem == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrInvalid, problem)
}
