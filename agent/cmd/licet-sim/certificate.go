package main

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"strconv"
	"strings"
	"time"
)

// certificate is what an entitlement certificate says; the layouts in certificates/ say how.
type certificate struct {
	ID, SoldTo, OrderNumber, Kind string
	Issued                        time.Time
	Lines                         []certificateLine
}

type certificateLine struct {
	Product, Version, PartNumber, ActivationID string
	Number, Count                              int
	Start                                      time.Time
	Expires                                    *time.Time // nil: never
}

// Layouts of a certificate.
const (
	layoutPlain = "plain"
	layoutMail  = "mail"
)

func layouts() []string { return []string{layoutPlain, layoutMail} }

//go:embed certificates
var certificates embed.FS

// templates are read from the program itself, so they cannot fail anywhere but in its own tests.
var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"isoDate":   func(t time.Time) string { return t.Format(time.DateOnly) },
	"longDate":  func(t time.Time) string { return unbroken(t.Format("2 January 2006")) },
	"thousands": func(n int) string { return unbroken(thousands(n)) },
}).ParseFS(certificates, "certificates/*.html"))

// render is the certificate in the layout and the encoding that goes with it.
func (c certificate) render(layout string) ([]byte, error) {
	var page bytes.Buffer
	if err := templates.ExecuteTemplate(&page, layout+".html", c); err != nil {
		return nil, err
	}
	if layout == layoutMail {
		return windows1252(page.String()), nil
	}
	return page.Bytes(), nil
}

const noBreakSpace = "\u00a0"

func unbroken(text string) string { return strings.ReplaceAll(text, " ", noBreakSpace) }

// thousands separates groups of three digits by spaces.
func thousands(n int) string {
	digits := strconv.Itoa(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + " " + digits[i:]
	}
	return digits
}

// upper1252 is what Windows-1252 has at 0x80 to 0x9f; 0 where it has nothing.
var upper1252 = [32]rune{
	'€', 0, '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', 0, 'Ž', 0,
	0, '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', 0, 'ž', 'Ÿ',
}

// windows1252 encodes HTML. What the encoding does not have becomes a character reference, which means the same in text and
// in attributes.
func windows1252(html string) []byte {
	var out bytes.Buffer
	for _, r := range html {
		switch {
		case r < 0x80 || r >= 0xa0 && r <= 0xff:
			out.WriteByte(byte(r))
		default:
			if b, ok := in1252(r); ok {
				out.WriteByte(b)
			} else {
				fmt.Fprintf(&out, "&#%d;", r)
			}
		}
	}
	return out.Bytes()
}

func in1252(r rune) (byte, bool) {
	for i, have := range upper1252 {
		if have == r {
			return byte(0x80 + i), true
		}
	}
	return 0, false
}
