package apitest

import (
	"context"
	"embed"
	"fmt"
	"io/fs"

	"github.com/licet-project/licet/coordinator/client"
)

//go:embed testdata
var samples embed.FS

// Samples are the files of the demo: catalog.yaml, sites.yaml, servers-demo.csv and two certificates.
func Samples() fs.FS {
	folder, err := fs.Sub(samples, "testdata")
	if err != nil {
		panic(err) // the name is a constant
	}
	return folder
}

// Stock imports all of them.
func Stock(ctx context.Context, c *client.Client) error {
	for _, step := range []struct {
		file string
		take func([]byte) error
	}{
		{"catalog.yaml", func(b []byte) error { _, err := c.ImportCatalog(ctx, b); return err }},
		{"sites.yaml", func(b []byte) error { _, err := c.ImportSites(ctx, b); return err }},
		{"servers-demo.csv", func(b []byte) error { _, err := c.ImportServers(ctx, b, false); return err }},
		{"entitlement-hq.html", func(b []byte) error { _, err := c.ImportEntitlement(ctx, b, ""); return err }},
		{"entitlement-harbour.html", func(b []byte) error { _, err := c.ImportEntitlement(ctx, b, ""); return err }},
	} {
		content, err := fs.ReadFile(Samples(), step.file)
		if err == nil {
			err = step.take(content)
		}
		if err != nil {
			return fmt.Errorf("import %s: %w", step.file, err)
		}
	}
	return nil
}
