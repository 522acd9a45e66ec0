package exchange

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// codesInSource are the values of all constants of type Code.
func codesInSource(t *testing.T) []Code {
	file, err := parser.ParseFile(token.NewFileSet(), "code.go", nil, 0)
	require.NoError(t, err)
	var codes []Code
	ast.Inspect(file, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if name, ok := spec.Type.(*ast.Ident); ok && name.Name == "Code" {
			value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			require.NoError(t, err)
			codes = append(codes, Code(value))
		}
		return true
	})
	return codes
}

func TestEveryCodeHasItsMeaning(t *testing.T) {
	codes := codesInSource(t)
	require.Len(t, codes, len(Meanings))
	word := regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`)
	for _, code := range codes {
		meaning, ok := Meanings[code]
		require.True(t, ok, code)
		require.NotEmpty(t, meaning.Text, code)
		require.NotEmpty(t, meaning.Hint, code)
		require.Contains(t, []Retry{RetryNever, RetryLater, RetryAfterOperator}, meaning.Retry)
		require.Regexp(t, word, string(code))
		require.Equal(t, code, code.Known())
		require.False(t, code.Transient() && meaning.Retry != RetryLater, "%s is transient but not for later", code)
	}
	require.Equal(t, Unknown, Code("from-the-future").Known())
	require.Equal(t, Meanings[Unknown], Code("").Meaning())
}

func TestRefusalTravelsAsAProblem(t *testing.T) {
	r := &Refusal{Code: RightExhausted, Detail: "all 40 are taken", Status: 409}
	require.Equal(t, "right-exhausted: the activation server has no seat of this right left (all 40 are taken)", r.Error())
	require.Equal(t, RetryAfterOperator, r.When(), "the code's own")
	data, err := json.Marshal(r.Problem())
	require.NoError(t, err)
	require.JSONEq(t, `{"type":"about:blank","title":"the activation server has no seat of this right left","status":409,
		"detail":"all 40 are taken","code":"right-exhausted","retry":"after-operator"}`, string(data))

	require.Equal(t, RetryLater, (&Refusal{Code: RightExhausted, Retry: RetryLater}).When(), "as stated")
	require.Equal(t, RetryNever, (&Refusal{Code: Superseded, Retry: "whenever"}).When(), "nonsense states nothing")
	plain := &Refusal{Code: Busy, Detail: Meanings[Busy].Text}
	require.Equal(t, "busy: the activation server is busy", plain.Error())
}
