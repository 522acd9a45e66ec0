package exchangetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"

	"go.yaml.in/yaml/v3"
)

// maxFile bounds an order book or a catalog, in bytes.
const maxFile = 4 << 20

var values = regexp.MustCompile("`[^`]*` ?")

// readYAML reads exactly one strict document and returns a function that says where a value of it stands.
func readYAML(what string, data []byte, into any) (place func(path ...any) string, err error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s: %d bytes, at most %d", what, len(data), maxFile)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	if err := decoder.Decode(into); err != nil {
		return nil, readProblem(what, err)
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: something follows the document", what)
	}
	var root yaml.Node
	if err := yaml.Unmarshal(data, &root); err != nil {
		return nil, readProblem(what, err)
	}
	return func(path ...any) string { return fmt.Sprintf("line %d", line(&root, path)) }, nil
}

// readProblem lists what the parser found, without the values: one could be an activation ID.
func readProblem(what string, err error) error {
	var wrong *yaml.TypeError
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: it is empty", what)
	}
	if !errors.As(err, &wrong) {
		return fmt.Errorf("%s: %s", what, values.ReplaceAllString(err.Error(), ""))
	}
	problems := make([]error, len(wrong.Errors))
	for i, text := range wrong.Errors {
		problems[i] = fmt.Errorf("%s %s", what, values.ReplaceAllString(text, ""))
	}
	return errors.Join(problems...)
}

// line is where the value at the path stands, or the nearest thing around it that exists.
func line(node *yaml.Node, path []any) int {
	for node.Kind == yaml.DocumentNode && len(node.Content) > 0 {
		node = node.Content[0]
	}
	for _, step := range path {
		next := child(node, step)
		if next == nil {
			break
		}
		node = next
	}
	return max(node.Line, 1)
}

func child(node *yaml.Node, step any) *yaml.Node {
	for node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	switch step := step.(type) {
	case int:
		if node.Kind == yaml.SequenceNode && step < len(node.Content) {
			return node.Content[step]
		}
	case string:
		if node.Kind != yaml.MappingNode {
			return nil
		}
		for i := 0; i+1 < len(node.Content); i += 2 {
			if node.Content[i].Value == step {
				return node.Content[i+1]
			}
		}
	}
	return nil
}

func quoted(text string) string { return fmt.Sprintf("%.64q", text) }
