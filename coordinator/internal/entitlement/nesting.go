package entitlement

import (
	"slices"

	"golang.org/x/net/html/atom"
)

// push notes that an element is open. Elements that have no content, or that may end without saying so, do not count; the
// parts of a table end each other, as they do in a browser.
func (r *reader) push(tag atom.Atom, selfClosing bool) {
	switch tag {
	case atom.Area, atom.Base, atom.Br, atom.Col, atom.Embed, atom.Hr, atom.Img, atom.Input, atom.Link, atom.Meta, atom.Param,
		atom.Source, atom.Track, atom.Wbr:
		return
	case atom.Html, atom.Head, atom.Body, atom.P, atom.Li, atom.Dt, atom.Dd, atom.Option, atom.Optgroup, atom.Colgroup, atom.Rp,
		atom.Rt, atom.Thead, atom.Tbody, atom.Tfoot:
		return
	case atom.Tr:
		r.popTo(atom.Table)
	case atom.Td, atom.Th:
		r.popTo(atom.Table, atom.Tr)
	}
	if !selfClosing {
		r.stack = append(r.stack, tag)
	}
}

// pop notes that an element has ended, and with it everything within. An end tag does not reach out of its cell, and one
// whose element is not open ends nothing.
func (r *reader) pop(tag atom.Atom) {
	for i, open := range slices.Backward(r.stack) {
		if open == tag {
			r.stack = r.stack[:i]
			return
		}
		switch open {
		case atom.Table:
			return
		case atom.Td, atom.Th:
			if tag != atom.Table && tag != atom.Tr {
				return
			}
		}
	}
}

// popTo ends what is open within the innermost of these elements.
func (r *reader) popTo(tags ...atom.Atom) {
	for i, open := range slices.Backward(r.stack) {
		if slices.Contains(tags, open) {
			r.stack = r.stack[:i+1]
			return
		}
		if open == atom.Table {
			return
		}
	}
}

// breaksLine reports whether text before and after the tag is not in one line.
func breaksLine(tag atom.Atom) bool {
	switch tag {
	case atom.Address, atom.Article, atom.Aside, atom.Blockquote, atom.Body, atom.Br, atom.Caption, atom.Center, atom.Dd, atom.Div,
		atom.Dl, atom.Dt, atom.Fieldset, atom.Figure, atom.Footer, atom.Form, atom.H1, atom.H2, atom.H3, atom.H4, atom.H5, atom.H6,
		atom.Header, atom.Hr, atom.Li, atom.Main, atom.Nav, atom.Ol, atom.P, atom.Pre, atom.Section, atom.Table, atom.Td, atom.Th,
		atom.Tr, atom.Ul:
		return true
	}
	return false
}
