package entitlement

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/html/charset"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/unicode"
)

// MaxSize is the largest certificate that is read, in bytes.
const MaxSize = 4 << 20

// readAll reads the file, at most MaxSize of it.
func readAll(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the entitlement certificate: %w", err)
	case len(data) > MaxSize:
		return nil, refuse("the file is larger than 4 MiB: an entitlement certificate is a few pages at most")
	case len(bytes.TrimSpace(data)) == 0:
		return nil, refuse("the file is empty")
	}
	return data, nil
}

// decode is the file in UTF-8. A byte order mark decides; else what is valid UTF-8 is UTF-8, whatever the file says of
// itself; else it is what it says, if that is an encoding of one byte each; else Windows-1252, which every file is.
func decode(data []byte) ([]byte, error) {
	switch {
	case bytes.HasPrefix(data, []byte("\xef\xbb\xbf")):
		return data[3:], nil
	case bytes.HasPrefix(data, []byte("\xff\xfe")), bytes.HasPrefix(data, []byte("<\x00")):
		return convert(data, unicode.UTF16(unicode.LittleEndian, unicode.UseBOM))
	case bytes.HasPrefix(data, []byte("\xfe\xff")), bytes.HasPrefix(data, []byte("\x00<")):
		return convert(data, unicode.UTF16(unicode.BigEndian, unicode.UseBOM))
	case utf8.Valid(data):
		return data, nil
	}
	_, name, _ := charset.DetermineEncoding(data[:min(len(data), 1024)], "")
	said, err := htmlindex.Get(name)
	if _, single := said.(*charmap.Charmap); err == nil && single {
		return convert(data, said)
	}
	if !strings.HasPrefix(name, "utf-") {
		return nil, refuse("the file says that it is written in %s, which is not read: open it in a browser and save it as UTF-8", name)
	}
	return convert(data, charmap.Windows1252)
}

func convert(data []byte, from encoding.Encoding) ([]byte, error) {
	text, err := from.NewDecoder().Bytes(data)
	if err != nil {
		return nil, refuse("the file cannot be read as text (%v): save it as UTF-8", err)
	}
	return text, nil
}

// notHTML says what the file is instead, or nil if it may be HTML.
func notHTML(data []byte) error {
	for magic, what := range map[string]string{
		"%PDF-":          "a PDF file",
		"PK\x03\x04":     "a zip archive or an Office document",
		"\x89PNG":        "a picture",
		"\xff\xd8\xff":   "a picture",
		"{\\rtf":         "a rich text document",
		"\xd0\xcf\x11":   "an Outlook message or an Office document",
		"Return-Path:":   "a whole e-mail",
		"Received:":      "a whole e-mail",
		"MIME-Version:":  "a whole e-mail",
		"Delivered-To:":  "a whole e-mail",
		"From: ":         "a whole e-mail",
		"X-MS-Exchange-": "a whole e-mail",
	} {
		if bytes.HasPrefix(data, []byte(magic)) {
			return refuse("the file is not HTML, it is %s: save the HTML attachment of the e-mail and import that", what)
		}
	}
	return nil
}
