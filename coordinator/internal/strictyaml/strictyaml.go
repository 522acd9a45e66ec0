// Package strictyaml reads a YAML file that a person wrote: one document, every key known, every mistake with its line.
package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// MaxSize is the largest file that is read, in bytes.
const MaxSize = 4 << 20

// Mistake is something in a file that cannot be read.
type Mistake struct {
	Line int    // counted from 1; 0 if it is about the whole file
	Key  string // empty if it is about no single key
	Text string
}

// File is a file that was read: it knows on which line its parts stand.
type File struct{ root *yaml.Node }

// Decode reads the file into a struct whose fields have yaml tags. With any mistake the struct is worthless.
func Decode(data []byte, into any) (File, []Mistake) {
	switch {
	case len(data) > MaxSize:
		return File{}, []Mistake{{Text: fmt.Sprintf("the file is larger than %d MiB", MaxSize>>20)}}
	case !utf8.Valid(data):
		return File{}, []Mistake{{Line: line(data), Text: "the file is not UTF-8: save it as UTF-8"}}
	}
	var root yaml.Node
	if err := yaml.Unmarshal(data, &root); err != nil {
		return File{}, mistakes(err)
	}
	if root.Kind == 0 {
		return File{}, []Mistake{{Text: "the file is empty"}}
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	if err := decoder.Decode(into); err != nil {
		return File{}, mistakes(err)
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return File{}, []Mistake{{Text: "the file has more than one document: what follows --- would be ignored"}}
	}
	return File{&root}, nil
}

// Line is where the part stands that the path leads to: a string names a key, an int the place in a list. A key that is
// missing stands where its parent does.
func (f File) Line(path ...any) int {
	node := f.root
	if node == nil || len(node.Content) == 0 {
		return 0
	}
	node = node.Content[0]
	at := node.Line
	for _, step := range path {
		var next *yaml.Node
		switch step := step.(type) {
		case string:
			for i := 0; i+1 < len(node.Content) && node.Kind == yaml.MappingNode; i += 2 {
				if node.Content[i].Value == step {
					next = node.Content[i+1]
					at = node.Content[i].Line
				}
			}
		case int:
			if step < len(node.Content) && node.Kind == yaml.SequenceNode {
				next = node.Content[step]
				at = next.Line
			}
		}
		if next == nil {
			return at
		}
		if next.Kind == yaml.AliasNode {
			next = next.Alias
		}
		node = next
	}
	return at
}

var (
	unknownKey = regexp.MustCompile(`^line (\d+): field (.*) not found in type \S+$`)
	sameKey    = regexp.MustCompile(`^line (\d+): mapping key "?(.*?)"? already defined at line (\d+)$`)
	wrongType  = regexp.MustCompile(`^line (\d+): cannot unmarshal !!(\w+)(?: (.*))? into (.*)$`)
	anywhere   = regexp.MustCompile(`^(?:yaml: )?line (\d+): (.*)$`)
)

// kinds are the words for the types of Go that a value can be wanted as, and for the types of YAML that it can be.
var kinds = map[string]string{
	"int": "a whole number", "string": "text", "bool": "true or false", "seq": "a list", "map": "a group of keys",
}

// mistakes are what the YAML library found, in our words where we know its.
func mistakes(err error) []Mistake {
	lines := []string{err.Error()}
	if typed := (*yaml.TypeError)(nil); errors.As(err, &typed) {
		lines = typed.Errors
	}
	var all []Mistake
	for _, text := range lines {
		m := Mistake{Text: text}
		if found := unknownKey.FindStringSubmatch(text); found != nil {
			m = Mistake{number(found[1]), found[2], "the key is not known"}
		} else if found := sameKey.FindStringSubmatch(text); found != nil {
			m = Mistake{number(found[1]), found[2], "the key stands already in line " + found[3]}
		} else if found := wrongType.FindStringSubmatch(text); found != nil {
			is, wanted := found[3], kinds[found[4]]
			if is == "" {
				is = kinds[found[2]]
			}
			if wanted == "" {
				wanted = "a list or a group of keys"
			}
			m = Mistake{number(found[1]), "", is + " is not " + wanted}
		} else if found := anywhere.FindStringSubmatch(text); found != nil {
			m = Mistake{number(found[1]), "", found[2]}
		}
		all = append(all, m)
	}
	slices.SortStableFunc(all, func(a, b Mistake) int { return a.Line - b.Line })
	return all
}

func number(text string) int {
	n, _ := strconv.Atoi(text) // digits
	return n
}

// line is the line of the first byte that is not UTF-8.
func line(data []byte) int {
	n := 1
	for len(data) > 0 {
		r, size := utf8.DecodeRune(data)
		if r == utf8.RuneError && size == 1 {
			return n
		}
		if r == '\n' {
			n++
		}
		data = data[size:]
	}
	return n
}
