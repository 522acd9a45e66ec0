package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/licet-project/licet/shared/exchange/exchangetest"
)

type entitlementOptions struct {
	orders, catalog, id, layout string
}

func entitlementCommand() *cobra.Command {
	var o entitlementOptions
	cmd := &cobra.Command{
		Use:   "entitlement",
		Short: "Print the entitlement certificate of an order as HTML",
		Long: "Print the entitlement certificate of an order as HTML, in one of two layouts: plain is two plain tables in UTF-8, mail\n" +
			"is what a mail template makes of it, in Windows-1252. Both say the same.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := required(cmd, "orders", "catalog", "id"); err != nil {
				return err
			}
			if !slices.Contains(layouts(), o.layout) {
				return usage(cmd, fmt.Errorf("--layout is not one of %s", strings.Join(layouts(), ", ")))
			}
			document, err := printEntitlement(o)
			if err != nil {
				return err
			}
			if _, err := cmd.OutOrStdout().Write(document); err != nil {
				return failed("print the certificate", err, "")
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.orders, "orders", "", "order book: what was sold (YAML)")
	flags.StringVar(&o.catalog, "catalog", "", "catalog: what products are called (YAML)")
	flags.StringVar(&o.id, "id", "", "entitlement ID of the order")
	flags.StringVar(&o.layout, "layout", "plain", strings.Join(layouts(), " or "))
	return cmd
}

// printEntitlement returns the whole document, so that nothing is printed when something is wrong.
func printEntitlement(o entitlementOptions) ([]byte, error) {
	const doing = "print the certificate"
	orders, catalog, err := readBooks(o.orders, o.catalog)
	if err != nil {
		return nil, err
	}
	order, known := orders.Entitlement(o.id)
	if !known {
		return nil, refused(doing, fmt.Errorf("the order book has no entitlement with this ID; it has %d others", len(orders.Entitlements)),
			"name one that is in "+o.orders+" with --id")
	}
	c, err := newCertificate(order, catalog)
	if err != nil {
		return nil, refused(doing, err, "correct the files named with --orders and --catalog")
	}
	page, err := c.render(o.layout)
	if err != nil {
		return nil, failed(doing, err, "")
	}
	return page, nil
}

// newCertificate is what the certificate of the order says.
func newCertificate(order exchangetest.Entitlement, catalog exchangetest.Catalog) (certificate, error) {
	c := certificate{ID: order.ID, SoldTo: order.SoldTo, OrderNumber: order.OrderNumber, Kind: capitalized(order.Kind)}
	var problems []error
	for i, l := range order.Lines {
		product, known := catalog.Product(l.PartNumber)
		if !known {
			problems = append(problems, fmt.Errorf("the catalog has no product %.64q", l.PartNumber))
		}
		c.Lines = append(c.Lines, certificateLine{
			Product: product.Name, Version: product.Version, PartNumber: l.PartNumber, ActivationID: l.ActivationID.Reveal(),
			Number: i + 1, Count: l.Count, Start: l.Start, Expires: l.Expires,
		})
		if c.Issued.IsZero() || l.Start.Before(c.Issued) {
			c.Issued = l.Start
		}
	}
	return c, errors.Join(problems...)
}

func capitalized(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:]
}
