package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/term"
	"go.yaml.in/yaml/v3"
)

// Output formats.
const (
	formatTable = "table"
	formatWide  = "wide"
	formatJSON  = "json"
	formatYAML  = "yaml"
)

var formats = []string{formatTable, formatWide, formatJSON, formatYAML}

func (s *session) checkFormat() error {
	if !slices.Contains(formats, s.format) {
		return fmt.Errorf("there is no output format %q, only %s", s.format, strings.Join(formats, ", "))
	}
	return nil
}

// people reports whether a person reads the output, not a program.
func (s *session) people() bool { return s.format == formatTable || s.format == formatWide }

// show prints an answer: as it travels, or as text for people.
func (s *session) show(answer any, text func(wide bool) string) error {
	var raw []byte
	var err error
	switch s.format {
	case formatJSON:
		raw, err = asJSON(answer)
	case formatYAML:
		raw, err = asYAML(answer)
	default:
		_, err = io.WriteString(s.styled(), text(s.format == formatWide))
	}
	if err == nil && raw != nil {
		_, err = s.out.Write(raw)
	}
	if err != nil {
		return s.failed("print the answer", err)
	}
	return nil
}

// styled is the output with as much color as it can show: none unless it is a terminal.
func (s *session) styled() io.Writer {
	environ := []string{}
	for _, name := range []string{"TERM", "COLORTERM", "NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"} {
		if value := s.getenv(name); value != "" {
			environ = append(environ, name+"="+value)
		}
	}
	return colorprofile.NewWriter(s.out, environ)
}

// terminal is the output if a person sits before it, else nil.
func (s *session) terminal() *os.File {
	file, ok := s.out.(*os.File)
	if !ok || !term.IsTerminal(file.Fd()) || !s.people() {
		return nil
	}
	return file
}

func asJSON(answer any) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	err := encoder.Encode(answer)
	return out.Bytes(), err
}

// asYAML is the JSON document in YAML's words: the same names in the same order.
func asYAML(answer any) ([]byte, error) {
	raw, err := json.Marshal(answer)
	if err != nil {
		return nil, err
	}
	var document yaml.Node
	if err := yaml.Unmarshal(raw, &document); err != nil {
		return nil, err
	}
	unflow(&document)
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(&document); err != nil {
		return nil, err
	}
	return out.Bytes(), encoder.Close()
}

// unflow turns JSON's braces and quotes into YAML's lines; a text that would read as something else keeps its quotes.
func unflow(node *yaml.Node) {
	node.Style &^= yaml.FlowStyle
	if node.Kind == yaml.ScalarNode && node.Tag == "!!str" {
		node.Style = 0
		node.SetString(node.Value)
	}
	for _, child := range node.Content {
		unflow(child)
	}
}
