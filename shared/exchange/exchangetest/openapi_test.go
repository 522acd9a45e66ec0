package exchangetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http/httptest"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/signed"
)

// wireTypes are the Go types behind the schemas that have one.
var wireTypes = map[string]any{
	"Order": exchange.Order{}, "Host": exchange.Host{}, "WireRight": exchange.WireRight{}, "Request": exchange.Request{},
	"Response": exchange.Response{}, "GrantedCount": exchange.GrantedCount{}, "RefusedRight": exchange.RefusedRight{},
	"Receipt": exchange.Receipt{}, "ReceiptRight": exchange.ReceiptRight{}, "Release": exchange.Release{},
	"HostState": exchange.HostState{}, "HostRight": exchange.HostRight{}, "Health": exchange.Health{}, "Problem": exchange.Problem{},
	"OrderQuery": OrderQuery{}, "OrderInfo": OrderInfo{}, "OrderLine": OrderLine{}, "OrderFeature": OrderFeature{},
	"Fault": Fault{}, "FaultState": FaultState{}, "FaultList": FaultList{}, "Keys": signed.KeySet{},
}

// withoutType are the schemas that are text, or that a library reads.
var withoutType = []string{"Digest", "Signed", "Code"}

type node = map[string]any

func readOpenAPI(t *testing.T) node {
	data, err := os.ReadFile("../openapi.yaml")
	require.NoError(t, err)
	var document node
	require.NoError(t, yaml.Unmarshal(data, &document))
	return document
}

// get follows keys; what is not there is nil.
func get(from any, keys ...string) any {
	for _, key := range keys {
		at, _ := from.(node)
		from = at[key]
	}
	return from
}

func schemaName(t *testing.T, at any) string {
	ref, _ := get(at, "$ref").(string)
	name, ok := strings.CutPrefix(ref, "#/components/schemas/")
	require.True(t, ok, "%v", at)
	return name
}

func TestOpenAPIHasEveryPathAndMethod(t *testing.T) {
	documented, served := []string{}, []string{}
	for path, methods := range get(readOpenAPI(t), "paths").(node) {
		for method := range methods.(node) {
			documented = append(documented, strings.ToUpper(method)+" "+path)
		}
	}
	for path, methods := range paths {
		for method := range methods {
			served = append(served, method+" "+path)
		}
	}
	require.ElementsMatch(t, served, documented)
}

func TestOpenAPISchemasAreTheGoTypes(t *testing.T) {
	document := readOpenAPI(t)
	schemas := get(document, "components", "schemas").(node)
	require.ElementsMatch(t, slices.Collect(maps.Keys(schemas)), slices.Concat(slices.Collect(maps.Keys(wireTypes)), withoutType))
	for name, value := range wireTypes {
		if name == "Keys" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			properties, required := fieldsOf(reflect.TypeOf(value))
			documented := schemas[name]
			if name == "FaultState" { // a Fault and more; only the more is looked at here
				parts := documented.(node)["allOf"].([]any)
				require.Equal(t, "Fault", schemaName(t, parts[0]))
				documented = parts[1]
				properties, required = map[string]bool{"struck": true}, []string{"struck"}
			}
			got, _ := get(documented, "properties").(node)
			require.ElementsMatch(t, slices.Collect(maps.Keys(properties)), slices.Collect(maps.Keys(got)))
			var must []string
			for _, field := range get(documented, "required").([]any) {
				must = append(must, field.(string))
			}
			if name != "Problem" { // a stranger's problem may lack everything, ours has what is required here
				require.ElementsMatch(t, required, must)
			}
		})
	}
	var codes []string
	for _, code := range get(schemas["Code"], "enum").([]any) {
		codes = append(codes, code.(string))
	}
	var known []string
	for code := range exchange.Meanings {
		known = append(known, string(code))
	}
	require.ElementsMatch(t, known, codes)
	var kinds []string
	for _, kind := range get(schemas["Fault"], "properties", "fault", "enum").([]any) {
		kinds = append(kinds, kind.(string))
	}
	require.ElementsMatch(t, slices.Collect(maps.Keys(faultUses)), kinds)
}

// fieldsOf are the JSON names of a struct, and which of them are always there.
func fieldsOf(of reflect.Type) (all map[string]bool, required []string) {
	all = map[string]bool{}
	for _, field := range reflect.VisibleFields(of) {
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if field.Anonymous || name == "" {
			continue
		}
		all[name] = true
		if !strings.Contains(options, "omitempty") {
			required = append(required, name)
		}
	}
	return all, required
}

// requireReads decodes the example strictly into the Go type of the schema.
func requireReads(t *testing.T, schema string, example any) []byte {
	t.Helper()
	require.NotNil(t, example, schema)
	data, err := json.Marshal(example)
	require.NoError(t, err)
	into := reflect.New(reflect.TypeOf(wireTypes[schema]))
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if schema != "Keys" {
		require.NoError(t, decoder.Decode(into.Interface()), "%s: %s", schema, data)
		again, err := json.Marshal(into.Interface())
		require.NoError(t, err)
		for field, value := range example.(node) {
			require.JSONEq(t, asJSON(t, value), asJSON(t, get(unmarshal(t, again), field)), "%s.%s", schema, field)
		}
	}
	return data
}

func asJSON(t *testing.T, value any) string {
	data, err := json.Marshal(value)
	require.NoError(t, err)
	return string(data)
}

func unmarshal(t *testing.T, data []byte) node {
	var value node
	require.NoError(t, json.Unmarshal(data, &value))
	return value
}

func TestOpenAPIExamplesAreReadByTheGoTypes(t *testing.T) {
	document := readOpenAPI(t)
	read := 0
	var walk func(at any)
	walk = func(at any) {
		switch at := at.(type) {
		case node:
			if at["schema"] != nil && get(at, "schema", "$ref") != nil && at["in"] == nil && at["x-payload"] == nil {
				schema := schemaName(t, at["schema"])
				if examples, many := at["examples"].(node); many {
					for _, example := range examples {
						requireReads(t, schema, get(example, "value"))
						read++
					}
				} else {
					requireReads(t, schema, at["example"])
					read++
				}
			}
			for _, child := range at {
				walk(child)
			}
		case []any:
			for _, child := range at {
				walk(child)
			}
		}
	}
	walk(document)
	for name, schema := range get(document, "components", "schemas").(node) {
		if example := get(schema, "example"); example != nil {
			requireReads(t, name, example)
			read++
		}
	}
	require.Greater(t, read, 20)
}

// Every path and method answers its own example with a documented status, media type and body.
func TestOpenAPIIsWhatTheServerDoes(t *testing.T) {
	document := readOpenAPI(t)
	s, err := New(Options{})
	require.NoError(t, err)
	host := get(document, "components", "parameters", "Host", "example").(string)
	h, err := NewHost(host, s.Keys)
	require.NoError(t, err)
	request := must(h.Request(order(1), counts{advanced: 1}))
	_, err = s.Process(request)
	require.NoError(t, err)

	documented := get(document, "paths").(node)
	order := slices.Sorted(maps.Keys(documented))
	order = append(slices.DeleteFunc(order, func(path string) bool { return path == "/v1/faults" }), "/v1/faults")
	for _, path := range order {
		for method, operation := range documented[path].(node) {
			t.Run(method+path, func(t *testing.T) {
				url := strings.NewReplacer("{id}", host, "{digest}", string(exchange.DigestOf(request))).Replace(path)
				for mediaType, bodies := range exampleBodies(t, operation, request) {
					for _, body := range bodies {
						w := call(s, strings.ToUpper(method), url, mediaType, string(body))
						requireDocumented(t, s, operation, host, w)
					}
				}
				w := call(s, "PATCH", url, "", "")
				requireProblem(t, w, 405, exchange.Malformed)
			})
		}
	}
}

// exampleBodies are the documented bodies of an operation by media type, or one empty body.
func exampleBodies(t *testing.T, operation any, request []byte) map[string][][]byte {
	bodies := map[string][][]byte{}
	content, _ := get(operation, "requestBody", "content").(node)
	for mediaType, at := range content {
		if get(at, "x-payload") != nil {
			bodies[mediaType] = [][]byte{request}
			continue
		}
		examples := []any{get(at, "example")}
		if many, ok := get(at, "examples").(node); ok {
			examples = nil
			for _, name := range slices.Sorted(maps.Keys(many)) {
				if name != "delay" && name != "drop-reply" { // not for the calls that follow
					examples = append(examples, get(many[name], "value"))
				}
			}
		}
		for _, example := range examples {
			bodies[mediaType] = append(bodies[mediaType], requireReads(t, schemaName(t, get(at, "schema")), example))
		}
	}
	if len(content) == 0 {
		bodies[""] = [][]byte{nil}
	}
	return bodies
}

func requireDocumented(t *testing.T, s *Server, operation any, host string, w *httptest.ResponseRecorder) {
	t.Helper()
	require.Less(t, w.Code, 300, w.Body.String())
	documented := get(operation, "responses", fmt.Sprint(w.Code))
	require.NotNil(t, documented, w.Code)
	content, _ := get(documented, "content").(node)
	mediaType := w.Header().Get("Content-Type")
	require.Equal(t, len(content) == 0, w.Body.Len() == 0)
	if len(content) == 0 {
		return
	}
	at := content[mediaType]
	require.NotNil(t, at, mediaType)
	data := w.Body.Bytes()
	if payload := get(at, "x-payload"); payload != nil {
		var err error
		kinds := map[string]signed.Purpose{
			"Response": {Kind: exchange.ResponseKind, Audience: host}, "Receipt": {Kind: exchange.ReceiptKind, Audience: host},
			"Health": {Kind: exchange.HealthKind, Audience: exchange.HealthAudience},
		}
		data, err = s.Keys().Verify(data, kinds[schemaName(t, payload)], exchange.MaxMessage)
		require.NoError(t, err)
		requireReads(t, schemaName(t, payload), unmarshal(t, data))
		return
	}
	requireReads(t, schemaName(t, get(at, "schema")), unmarshal(t, data))
}
