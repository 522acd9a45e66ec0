package api

import (
	"context"
	"encoding/json"
	"mime"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/licet-project/licet/coordinator/client"
)

const (
	callTime = 30 * time.Second // that an operation may take, waiting for others left out
	readTime = 15 * time.Second // that a body may take to arrive
	maxWait  = 5 * time.Minute  // that a caller may ask to wait
	maxJSON  = 64 << 10         // bytes of a JSON body
)

// config is huma without what we do not serve: no schema links, no documentation page that loads scripts from elsewhere.
func (a *API) config() huma.Config {
	config := huma.DefaultConfig("Licet", "1")
	config.Info.Description = "Licenses of BMS servers: entitlements in, activated servers out, with proof."
	config.CreateHooks = nil
	config.OpenAPIPath, config.DocsPath, config.SchemasPath = "", "", ""
	config.RejectUnknownQueryParameters = true
	config.Transformers = []huma.Transformer{a.transform}
	return config
}

// answer is the output of every operation with a body.
type answer[T any] struct{ Body T }

// operation is what our operations differ in.
type operation struct {
	id, method, path string
	summary          string
	maxBody          int64         // bytes; 0: maxJSON
	wait             time.Duration // most that it waits for others, added to callTime
}

// handle registers an operation: bounded in time, its errors mapped at one place.
func handle[I, T any](a *API, op operation, do func(ctx context.Context, in *I) (T, error)) {
	if op.maxBody == 0 {
		op.maxBody = maxJSON
	}
	huma.Register(a.rest, huma.Operation{
		OperationID: op.id, Method: op.method, Path: op.path, Summary: op.summary,
		MaxBodyBytes: op.maxBody, BodyReadTimeout: readTime, Responses: a.problemResponses(),
		Metadata: map[string]any{"time": callTime + op.wait + writeTime},
	}, func(ctx context.Context, in *I) (*answer[T], error) {
		ctx, cancel := context.WithTimeout(ctx, callTime+op.wait)
		defer cancel()
		body, err := do(ctx, in)
		if err != nil {
			return nil, a.problem(ctx, op.id, err)
		}
		return &answer[T]{body}, nil
	})
}

// deadline is by when an answer must have left, so that a caller who does not read holds nothing for ever.
func deadline(ctx huma.Context, next func(huma.Context)) {
	_, w := humago.Unwrap(ctx)
	if most, ok := ctx.Operation().Metadata["time"].(time.Duration); ok {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(most)) // what cannot have a deadline has none
	}
	next(ctx)
}

// problemResponses documents that every operation may answer with a problem.
func (a *API) problemResponses() map[string]*huma.Response {
	schema := a.rest.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[client.Problem](), true, "Problem")
	return map[string]*huma.Response{"default": {
		Description: "What happened, and what to do next.",
		Content:     map[string]*huma.MediaType{client.ProblemType: {Schema: schema}},
	}}
}

// mediaType refuses a body of another kind than the operation reads; a page of another origin cannot name ours.
func (a *API) mediaType(ctx huma.Context, next func(huma.Context)) {
	op := ctx.Operation()
	if op.RequestBody != nil && (op.RequestBody.Required || ctx.Header("Content-Length") != "0" && ctx.Header("Content-Length") != "") {
		given, _, err := mime.ParseMediaType(ctx.Header("Content-Type"))
		if err != nil || op.RequestBody.Content[given] == nil {
			var known []string
			for name := range op.RequestBody.Content {
				known = append(known, name)
			}
			a.write(ctx, &client.Problem{
				Status: http.StatusUnsupportedMediaType, Code: client.CodeMediaType,
				Detail: "the body is not labeled as " + strings.Join(known, " or "),
				Hint:   "send Content-Type: " + known[0],
			})
			return
		}
	}
	next(ctx)
}

// write answers with a problem from outside of an operation.
func (a *API) write(ctx huma.Context, p *client.Problem) {
	ctx.SetHeader("Content-Type", client.ProblemType)
	ctx.SetStatus(p.Status)
	p.Title = http.StatusText(p.Status)
	_ = json.NewEncoder(ctx.BodyWriter()).Encode(p) // a caller that has gone is no concern of ours
}

// openAPI is the document of the REST API; problems stand in it as ours, not as the library's.
func (a *API) openAPI() ([]byte, error) {
	schemas := a.rest.OpenAPI().Components.Schemas.Map()
	delete(schemas, "ErrorModel")
	delete(schemas, "ErrorDetail")
	raw, err := json.MarshalIndent(a.rest.OpenAPI(), "", "  ")
	return append(raw, '\n'), err
}

// registerOpenAPI must come after every operation.
func (a *API) registerOpenAPI(mux *http.ServeMux) error {
	document, err := a.openAPI()
	if err != nil {
		return err
	}
	mux.HandleFunc("GET /v1/openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/openapi+json")
		_, _ = w.Write(document)
	})
	return nil
}
