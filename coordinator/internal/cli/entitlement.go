package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/licet-project/licet/coordinator/client"
	"github.com/licet-project/licet/coordinator/internal/entitlement"
)

func (s *session) entitlement() *cobra.Command {
	return noun("entitlement", "entitlement certificates and what is left of them",
		s.entitlementCheck(), s.entitlementImport(), s.entitlementList())
}

func (s *session) entitlementCheck() *cobra.Command {
	return &cobra.Command{
		Use: "check FILE", Short: "read an entitlement certificate and say what it grants; needs no coordinator", Args: cobra.ExactArgs(1),
		Long: `check reads the HTML file that came with the order and says what it grants, or every mistake in it. It talks to nobody.
Activation IDs are shown masked, here as everywhere: who knows one can take its seats. The file itself has them in full.`,
		RunE: func(_ *cobra.Command, args []string) error {
			content, err := s.read(args[0])
			if err != nil {
				return err
			}
			certificate, err := entitlement.Parse(bytes.NewReader(content), entitlement.Options{Now: time.Now()})
			if err != nil {
				return s.unreadable("check "+clean(args[0]), err)
			}
			answer := certificateOf(certificate)
			return s.show(answer, func(wide bool) string { return certificateText(answer, wide) })
		},
	}
}

// unreadable is every mistake of a certificate, in the manner of the coordinator's own refusal.
func (s *session) unreadable(doing string, err error) error {
	var problems entitlement.Problems
	if !errors.As(err, &problems) {
		return s.failed(doing, err)
	}
	p := &client.Problem{Detail: problems[0].String(), Hint: "ask for the certificate as it was sent: an HTML file, unchanged"}
	if len(problems) > 1 {
		p.Detail = plural(len(problems), "mistake") + " in the certificate"
		for _, problem := range problems {
			p.Errors = append(p.Errors, client.ProblemDetail{Message: problem.String()})
		}
	}
	return &fault{doing: doing, err: p, hint: p.Hint, code: exitRefused}
}

func certificateOf(c entitlement.Certificate) client.Certificate {
	answer := client.Certificate{
		EntitlementID: c.ID, SoldTo: c.SoldTo, OrderNumber: c.OrderNumber, Kind: c.Kind, Seats: c.Seats(), Notes: c.Notes,
	}
	if !c.Issued.IsZero() {
		answer.Issued = &c.Issued
	}
	for _, line := range c.Lines {
		answer.Lines = append(answer.Lines, client.CertificateLine{
			ActivationID: line.ActivationID.String(), PartNumber: line.PartNumber, Product: line.Product, Version: line.Version,
			OrderLine: line.OrderLine, Count: line.Count, Remaining: line.Remaining, Starts: line.Start, Expires: line.Expires,
		})
	}
	return answer
}

func certificateText(c client.Certificate, wide bool) string {
	g := &grid{columns: []column{
		{title: "PART NUMBER"},
		{title: "PRODUCT"},
		{title: "VERSION", wide: true},
		{title: "ACTIVATION ID"},
		{title: "ORDER LINE", wide: true},
		{title: "SEATS", right: true},
		{title: "REMAINING", right: true},
		{title: "STARTS"},
		{title: "EXPIRES"},
	}}
	for _, line := range c.Lines {
		g.add(text(line.PartNumber), text(line.Product), text(line.Version), text(line.ActivationID), text(line.OrderLine),
			number(line.Count), number(line.Remaining), day(line.Starts, "-"), day(line.Expires, "permanent"))
	}
	var out strings.Builder
	out.WriteString(g.render(wide))
	notes(&out, c.Notes)
	fmt.Fprintf(&out, "%s: %s, %s\n", clean(c.EntitlementID), plural(len(c.Lines), "line"), plural(c.Seats, "seat"))
	return out.String()
}

func notes(out *strings.Builder, all []string) {
	for _, note := range all {
		out.WriteString("note: " + clean(note) + "\n")
	}
}

func (s *session) entitlementImport() *cobra.Command {
	owner := ""
	command := &cobra.Command{
		Use: "import FILE", Short: "import an entitlement certificate", Args: cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
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
			answer, err := c.ImportEntitlement(ctx, content, owner)
			if err != nil {
				return s.failed("import the entitlement", err)
			}
			return s.show(answer, func(bool) string { return importedText(answer) })
		},
	}
	command.Flags().StringVar(&owner, "owner", "", `whose seats they are (default: the certificate's "Sold To")`)
	return command
}

func importedText(answer client.EntitlementImported) string {
	if answer.Unchanged {
		return "unchanged " + clean(answer.EntitlementID) + "\n"
	}
	var out strings.Builder
	notes(&out, answer.Notes)
	fmt.Fprintf(&out, "imported %s: %s, %s\n", clean(answer.EntitlementID), plural(answer.Lines, "line"), plural(answer.Seats, "seat"))
	return out.String()
}

func (s *session) entitlementList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "list the entitlements with what is held and left", Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return listed(command.Context(), s, "list the entitlements", (*client.Client).Entitlements, entitlementTable)
		},
	}
}

func entitlementTable(answer client.Entitlements) *grid {
	g := &grid{empty: "no entitlements; import one: licet entitlement import FILE", columns: []column{
		{title: "ENTITLEMENT"},
		{title: "OWNER"},
		{title: "ORDER", wide: true},
		{title: "PART NUMBER"},
		{title: "PRODUCT", wide: true},
		{title: "ACTIVATION ID", wide: true},
		{title: "BOUGHT", right: true},
		{title: "HELD", right: true},
		{title: "LEFT", right: true},
		{title: "EXPIRES"},
		{title: "LINE", wide: true},
	}}
	for _, e := range answer.Entitlements {
		for _, line := range e.Lines {
			expires := day(line.Expires, "permanent")
			if line.Expires != nil && answer.At.After(line.Expires.AddDate(0, 0, 1)) {
				expires.tone = bad
			}
			g.add(text(e.EntitlementID), text(e.Owner), text(e.OrderNumber), text(line.PartNumber), text(line.Product), text(line.ActivationID),
				number(line.Bought), number(line.Held), number(line.Left), expires, text(line.Ref))
		}
	}
	return g
}
