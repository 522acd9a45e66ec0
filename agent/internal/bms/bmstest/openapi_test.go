package bmstest

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/licet-project/licet/agent/internal/bms"
	"github.com/licet-project/licet/shared/exchange"
)

type object = map[string]any

// document is openapi.yaml with every reference resolved where it is asked for.
type document struct {
	t    *testing.T
	root object
}

func openDocument(t *testing.T) document {
	t.Helper()
	data, err := os.ReadFile("../openapi.yaml")
	require.NoError(t, err)
	d := document{t: t}
	require.NoError(t, yaml.Unmarshal(data, &d.root))
	return d
}

// at walks down, through references.
func (d document) at(from any, path ...string) any {
	for {
		node, isObject := from.(object)
		if ref, isRef := node["$ref"].(string); isRef {
			from = d.at(d.root, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
			continue
		}
		if len(path) == 0 {
			return from
		}
		require.True(d.t, isObject, "%v", path)
		from, path = node[path[0]], path[1:]
	}
}

func (d document) object(from any, path ...string) object {
	node, _ := d.at(from, path...).(object)
	return node
}

// operations are all, as "METHOD path".
func (d document) operations() map[string]object {
	found := make(map[string]object)
	for path, item := range d.object(d.root, "paths") {
		for method := range item.(object) {
			if method != "parameters" {
				found[strings.ToUpper(method)+" "+path] = d.object(item, method)
			}
		}
	}
	return found
}

// examples of a body, by media type; opaque bodies have none.
func (d document) examples(body object) map[string][]any {
	found := make(map[string][]any)
	for mediaType, content := range d.object(body, "content") {
		if example, one := content.(object)["example"]; one {
			found[mediaType] = append(found[mediaType], example)
		}
		for _, example := range d.object(content, "examples") {
			found[mediaType] = append(found[mediaType], example.(object)["value"])
		}
	}
	return found
}

// The Go type of every schema that has one.
var schemaTypes = map[string]reflect.Type{
	"Health": reflect.TypeFor[bms.RESTHealth](), "Servers": reflect.TypeFor[bms.RESTServers](), "Server": reflect.TypeFor[bms.RESTServer](),
	"License": reflect.TypeFor[bms.RESTLicense](), "Right": reflect.TypeFor[exchange.WireRight](), "Order": reflect.TypeFor[exchange.Order](),
	"Request": reflect.TypeFor[bms.RESTRequest](), "Report": reflect.TypeFor[bms.RESTReport](), "Refused": reflect.TypeFor[bms.RESTRefused](),
	"RefusedRight": reflect.TypeFor[exchange.RefusedRight](), "Problem": reflect.TypeFor[exchange.Problem](),
	"Stores": reflect.TypeFor[SimStores](), "Store": reflect.TypeFor[SimStore](), "Granted": reflect.TypeFor[exchange.GrantedCount](),
	"Tamper": reflect.TypeFor[SimTamper](), "Refuse": reflect.TypeFor[SimRefuse](),
}

// strictly decodes JSON into a new value of the type; a field that the type lacks is an error.
func strictly(t *testing.T, of reflect.Type, data []byte) any {
	t.Helper()
	value := reflect.New(of)
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	require.NoError(t, decoder.Decode(value.Interface()), "%s: %s", of, data)
	return value.Interface()
}

func (d document) schemaType(content any) reflect.Type {
	ref, _ := content.(object)["schema"].(object)["$ref"].(string)
	return schemaTypes[strings.TrimPrefix(ref, "#/components/schemas/")]
}

func TestOpenAPIHasEveryPathOfTheSimulatorAndNoOther(t *testing.T) {
	var routes []string
	for _, r := range newBench(t).routes() {
		routes = append(routes, r.method+" "+r.path)
	}
	slices.Sort(routes)
	require.Equal(t, routes, slices.Sorted(maps.Keys(openDocument(t).operations())))
}

func TestOpenAPISchemasAreTheGoTypes(t *testing.T) {
	d := openDocument(t)
	for name, schema := range d.object(d.root, "components", "schemas") {
		of, known := schemaTypes[name]
		if name == "Code" {
			require.ElementsMatch(t, slices.Collect(maps.Keys(exchange.Meanings)), codes(schema.(object)["enum"].([]any)))
			continue
		}
		require.True(t, known, name)
		var fields, must []string
		for i := range of.NumField() {
			tag, options, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
			fields = append(fields, tag)
			if options != "omitempty" {
				must = append(must, tag)
			}
		}
		require.ElementsMatch(t, fields, slices.Collect(maps.Keys(d.object(schema, "properties"))), name)
		required, _ := schema.(object)["required"].([]any)
		require.Len(t, required, len(must), name)
		for _, field := range must {
			require.Contains(t, required, field, name)
		}
	}
}

func codes(names []any) []exchange.Code {
	codes := make([]exchange.Code, len(names))
	for i, name := range names {
		codes[i] = exchange.Code(name.(string))
	}
	return codes
}

func TestOpenAPIExamplesAreTheGoTypes(t *testing.T) {
	d := openDocument(t)
	seen := 0
	walk := func(where string, body object) {
		for mediaType, examples := range d.examples(body) {
			of := d.schemaType(d.object(body, "content")[mediaType])
			require.NotNil(t, of, where)
			for _, example := range examples {
				seen++
				want, err := json.Marshal(example)
				require.NoError(t, err)
				got, err := json.Marshal(strictly(t, of, want))
				require.NoError(t, err)
				require.JSONEq(t, string(want), string(got), "%s: nothing gets lost", where)
			}
		}
	}
	for name, operation := range d.operations() {
		walk(name, d.object(operation, "requestBody"))
		for status := range d.object(operation, "responses") {
			walk(name+" "+status, d.object(operation, "responses", status))
		}
	}
	require.GreaterOrEqual(t, seen, 10)
	list := object{"servers": d.object(d.root, "paths", "/api/v1/servers", "get", "responses", "200", "content", "application/json", "example")["servers"]}
	data, err := json.Marshal(list)
	require.NoError(t, err)
	require.NotEmpty(t, strictly(t, schemaTypes["Servers"], data).(*bms.RESTServers).Servers)
}

// secure is a client that knows the bench's certificate.
func (b *bench) secure() *http.Client {
	pool := x509.NewCertPool()
	require.True(b.t, pool.AppendCertsFromPEM(b.Trust()))
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	b.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func (b *bench) serve() *http.Client {
	b.t.Helper()
	require.NoError(b.t, b.Start("127.0.0.1:0"))
	b.t.Cleanup(func() { require.NoError(b.t, b.Close()) })
	return b.secure()
}

func TestOpenAPIStatesWhatEveryPathAnswers(t *testing.T) {
	d := openDocument(t)
	b := newBench(t)
	client := b.serve()
	b.apply(b.answer(b.request(right("DEMO-ACT-7f3a-0001", 1))))
	ask := func(name, host, mediaType string, body []byte) int {
		method, path, _ := strings.Cut(name, " ")
		request, err := http.NewRequestWithContext(t.Context(), method, b.URL()+strings.ReplaceAll(path, "{host}", host), bytes.NewReader(body))
		require.NoError(t, err)
		request.Header.Set("Content-Type", mediaType)
		response, err := client.Do(request)
		require.NoError(t, err)
		defer func() { require.NoError(t, response.Body.Close()) }()
		got, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		stated := d.object(d.operations()[name], "responses", fmt.Sprint(response.StatusCode))
		require.NotNil(t, stated, "%s answers %s, which is not stated: %s", name, response.Status, got)
		content := d.object(stated, "content")
		if len(content) == 0 {
			require.Empty(t, got)
			return response.StatusCode
		}
		require.Contains(t, content, response.Header.Get("Content-Type"), name)
		for header := range d.object(stated, "headers") {
			require.Equal(t, host, response.Header.Get(header))
		}
		if of := d.schemaType(content[response.Header.Get("Content-Type")]); of != nil {
			strictly(t, of, got)
		}
		return response.StatusCode
	}
	for name, operation := range d.operations() {
		bodies := d.examples(d.object(operation, "requestBody"))
		if len(bodies) == 0 { // no body, or an opaque one
			bodies = map[string][]any{"": {nil}}
			if d.object(operation, "requestBody") != nil {
				bodies = map[string][]any{exchange.MediaType: {json.RawMessage(b.answer(b.request(right("A", 1))))}}
			}
		}
		for mediaType, examples := range bodies {
			for _, example := range examples {
				body, err := json.Marshal(example)
				require.NoError(t, err)
				if raw, opaque := example.(json.RawMessage); opaque {
					body = raw
				}
				require.Equal(t, 2, ask(name, string(field), mediaType, body)/100, name)
				if !strings.Contains(name, "{host}") {
					continue
				}
				require.Equal(t, http.StatusNotFound, ask(name, "NOBODY", mediaType, body))
				require.Equal(t, http.StatusBadRequest, ask(name, string(field), mediaType, []byte("{")))
				require.Equal(t, http.StatusBadRequest, ask(name, string(field), "text/html", body))
				require.Equal(t, http.StatusRequestEntityTooLarge, ask(name, string(field), mediaType, bytes.Repeat([]byte(" "), maxJSON+1)))
			}
		}
		require.NoError(t, b.reset())
	}
	for code := range exchange.Meanings {
		require.NoError(t, b.RefuseNextCall(field, CallReport, code))
		ask("POST /api/v1/servers/{host}/reports", string(field), jsonType, []byte(`{"order":{"epoch":1,"generation":1}}`))
	}
	require.NoError(t, b.SetUnanswered(field, "no route to host"))
	require.Equal(t, http.StatusGatewayTimeout, ask("POST /api/v1/servers/{host}/reports", string(field), jsonType, []byte(`{}`)))
	require.Equal(t, http.StatusOK, ask("GET /api/v1/servers", "", "", nil))
}

// reset forgets the refusals that were ordered.
func (b *bench) reset() error {
	return b.change(field, func(v *server) error { clear(v.refusals); return nil })
}
