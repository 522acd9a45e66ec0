package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/licet-project/licet/coordinator/client"
)

func (s *session) catalog() *cobra.Command {
	return noun("catalog", "what can be bought and assigned", &cobra.Command{
		Use: "import FILE", Short: "take over the products of a YAML file", Args: cobra.ExactArgs(1),
		RunE: s.importFile("import the catalog", "products", (*client.Client).ImportCatalog),
	}, s.productList("list"))
}

// product is the catalog by another word: the catalog is a list of products.
func (s *session) product() *cobra.Command {
	return noun("product", "the products of the catalog", s.productList("list"))
}

func (s *session) site() *cobra.Command {
	list := &cobra.Command{
		Use: "list", Short: "list the sites", Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return listed(command.Context(), s, "list the sites", (*client.Client).Sites, siteTable)
		},
	}
	return noun("site", "where servers stand, and whose the site is", &cobra.Command{
		Use: "import FILE", Short: "take over the sites of a YAML file", Args: cobra.ExactArgs(1),
		RunE: s.importFile("import the sites", "sites", (*client.Client).ImportSites),
	}, list)
}

// importFile is the command that sends a file and says what it changed.
func (s *session) importFile(doing, what string, send func(*client.Client, context.Context, []byte) (client.Imported, error)) func(*cobra.Command, []string) error {
	return func(command *cobra.Command, args []string) error {
		content, err := s.read(args[0])
		if err != nil {
			return err
		}
		c, err := s.connect()
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(command.Context(), callTime)
		defer cancel()
		answer, err := send(c, ctx, content)
		if err != nil {
			return s.failed(doing, err)
		}
		return s.show(answer, func(bool) string {
			all := answer.Added + answer.Changed + answer.Unchanged
			return fmt.Sprintf("imported %d %s: %d added, %d changed, %d unchanged\n", all, what, answer.Added, answer.Changed, answer.Unchanged)
		})
	}
}

func (s *session) productList(use string) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: "list the products", Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return listed(command.Context(), s, "list the products", (*client.Client).Products, productTable)
		},
	}
}

// listed fetches a list and shows it.
func listed[T any](ctx context.Context, s *session, doing string, fetch func(*client.Client, context.Context) (T, error), table func(T) *grid) error {
	c, err := s.connect()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	answer, err := fetch(c, ctx)
	if err != nil {
		return s.failed(doing, err)
	}
	return s.show(answer, table(answer).render)
}

func productTable(answer client.Products) *grid {
	g := &grid{empty: "no products; import a catalog first: licet catalog import FILE", columns: []column{
		{title: "PART NUMBER"},
		{title: "NAME"},
		{title: "SITS AT"},
		{title: "SERVES"},
		{title: "TYPES", wide: true},
		{title: "FROM VERSION", wide: true},
		{title: "EXCLUDES", wide: true},
		{title: "UNIT", wide: true},
		{title: "MANAGED BY"},
	}}
	for _, p := range answer.Products {
		unit := ""
		if p.Unit != nil {
			unit = fmt.Sprintf("%d %s", p.Unit.PerLicense, p.Unit.Name)
		}
		by := cell{"licet", faint}
		if p.ManagedBy != "" {
			by = text(p.ManagedBy)
		}
		g.add(text(p.PartNumber), text(p.Name), text(p.Placement), text(p.Scope), text(strings.Join(p.Types, " ")),
			text(p.MinVersion), text(strings.Join(p.Excludes, " ")), text(unit), by)
	}
	return g
}

func siteTable(answer client.Sites) *grid {
	g := &grid{empty: "no sites; import them first: licet site import FILE", columns: []column{
		{title: "ID"}, {title: "NAME"}, {title: "OWNER"}, {title: "TIME ZONE"}, {title: "CARRIERS"}, {title: "SERVERS", right: true},
	}}
	for _, site := range answer.Sites {
		g.add(text(site.ID), text(site.Name), text(site.Owner), text(site.TimeZone), text(strings.Join(site.Carriers, " ")), number(site.Servers))
	}
	return g
}
