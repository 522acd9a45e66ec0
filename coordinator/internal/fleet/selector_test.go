package fleet

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestParseSelector(t *testing.T) {
	hq := map[string]string{"site": "hq", "role": "top", "name": "HQ Enterprise Server", "building": "hq", "x": "in"}
	for text, want := range map[string]bool{
		"":                               true,
		"   ":                            true,
		"site=hq":                        true,
		" site = hq ":                    true,
		"site=HQ":                        false,
		"site=hq,role=top":               true,
		"site=hq, role=field":            false,
		"site!=hq":                       false,
		"site != harbour":                true,
		"floor!=3":                       true, // not there, so not equal
		"floor":                          false,
		"building":                       true,
		" building , role ":              true,
		"role in (top, field)":           true,
		"role in(top)":                   true,
		"role in ( field )":              false,
		"role in (field),site=hq":        false,
		"floor in (1, 2)":                false,
		"name=HQ Enterprise Server":      true,
		"name = HQ Enterprise Server ,x": true,
		"x=in":                           true,
		"in=x":                           false,
		"in in (in)":                     false,
		"site!=a=b":                      true, // the value is a=b
	} {
		selector, err := ParseSelector(text)
		require.NoError(t, err, text)
		require.Equal(t, want, selector.Match(hq), text)
	}
}

func TestParseSelectorRefuses(t *testing.T) {
	for text, want := range map[string]string{
		",":                               "column 1: a term is missing: write key=value, key!=value, key in (a, b) or key",
		"site=hq,":                        "column 9: a term is missing: write key=value, key!=value, key in (a, b) or key",
		"site=hq,,role=top":               "column 9: a term is missing: write key=value, key!=value, key in (a, b) or key",
		"site=":                           "column 6: a value is missing",
		"site= ,role=top":                 "column 7: a value is missing",
		"site!=":                          "column 7: a value is missing",
		"site==hq":                        "column 6: one = is enough",
		"=hq":                             `column 1: a key cannot begin with '=': keys are letters, digits and . _ - /`,
		"!site":                           `column 1: a key cannot begin with '!': keys are letters, digits and . _ - /`,
		"site hq":                         "column 6: after a key there is =, !=, in (a, b), a comma or the end",
		"site<hq":                         "column 5: after a key there is =, !=, in (a, b), a comma or the end",
		"site in hq":                      "column 9: after in there is a list in parentheses: key in (a, b)",
		"site in ":                        "column 9: after in there is a list in parentheses: key in (a, b)",
		"site in (hq":                     "column 12: the list is not closed: ) is missing",
		"site in (hq,":                    "column 13: a value is missing",
		"site in ()":                      "column 10: a value is missing",
		"site in (a,,b)":                  "column 12: a value is missing",
		"site in (a (b))":                 "column 12: a value in a list cannot contain (",
		"site in (a) role=top":            "column 13: after a list there is a comma or the end",
		"ort=Köln,\x07":                   "column 10: a control or invisible character (U+0007)",
		"site=\u202ehq":                   "column 6: a control or invisible character (U+202E)",
		"a=b,c\td":                        "column 6: a control or invisible character (U+0009)",
		"ort=Köln,größe=3":                "column 12: after a key there is =, !=, in (a, b), a comma or the end",
		strings.Repeat("k", 64):           "column 1: the key is longer than 63 characters",
		"a=" + strings.Repeat("v", 4_095): "column 1: it is longer than 4096 bytes",
	} {
		_, err := ParseSelector(text)
		require.EqualError(t, err, "selector, "+want, "%q", text)
		var where *SelectorError
		require.ErrorAs(t, err, &where)
	}
}

// TestSelectorMatchExhaustive asks every selector of up to two terms over two keys and two values about every server that
// has any of them, and compares with the definition.
func TestSelectorMatchExhaustive(t *testing.T) {
	var terms []string
	meaning := map[string]func(value string, has bool) bool{}
	note := func(format string, is func(string, bool) bool) {
		for _, key := range []string{"a", "b"} {
			text := fmt.Sprintf(format, key)
			terms = append(terms, text)
			meaning[text] = is
		}
	}
	note("%s", func(_ string, has bool) bool { return has })
	for _, v := range []string{"x", "y"} {
		note("%s="+v, func(value string, has bool) bool { return has && value == v })
		note("%s!="+v, func(value string, has bool) bool { return !has || value != v })
		note("%s in ("+v+")", func(value string, has bool) bool { return has && value == v })
	}
	note("%s in (x, y)", func(value string, has bool) bool { return has && (value == "x" || value == "y") })

	values := []string{"", "x", "y", "z"} // "" is: the server does not have the key
	asked := 0
	for _, first := range terms {
		for _, second := range append(terms, first) {
			selector, err := ParseSelector(first + "," + second)
			require.NoError(t, err)
			for _, a := range values {
				for _, b := range values {
					server := map[string]string{}
					for key, value := range map[string]string{"a": a, "b": b} {
						if value != "" {
							server[key] = value
						}
					}
					want := true
					for _, text := range []string{first, second} {
						value, has := server[text[:1]]
						want = want && meaning[text](value, has)
					}
					require.Equal(t, want, selector.Match(server), "%s on %v", selector, server)
					asked++
				}
			}
		}
	}
	require.Equal(t, 16*17*16, asked)
}

func TestSelectorStringReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.StringMatching(`[A-Za-z0-9._/-]{1,8}`)
		value := rapid.StringMatching(`[A-Za-z0-9äß.]( ?[A-Za-z0-9äß=!.]){0,5}`)
		space := rapid.StringMatching(` {0,2}`)
		var text []string
		for range rapid.IntRange(0, 4).Draw(t, "terms") {
			k, s := key.Draw(t, "key"), space.Draw(t, "space")
			switch rapid.IntRange(0, 3).Draw(t, "operator") {
			case 0:
				text = append(text, s+k+s)
			case 1:
				text = append(text, k+s+"="+s+value.Draw(t, "value")+s)
			case 2:
				text = append(text, s+k+s+"!="+value.Draw(t, "value"))
			case 3:
				text = append(text, k+" in"+s+"("+strings.Join(rapid.SliceOfN(value, 1, 3).Draw(t, "values"), ","+s)+s+")"+s)
			}
		}
		selector, err := ParseSelector(strings.Join(text, ","))
		require.NoError(t, err)
		again, err := ParseSelector(selector.String())
		require.NoError(t, err)
		require.Equal(t, selector, again)
	})
}

func FuzzParseSelector(f *testing.F) {
	for _, seed := range []string{"", "role=top,site!=hq", "a in (b, c),d", "a in ((", "x=ä"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		selector, err := ParseSelector(text)
		if err != nil {
			return
		}
		again, err := ParseSelector(selector.String())
		require.NoError(t, err, "%q", selector.String())
		require.Equal(t, selector, again)
	})
}

func TestServerAttributes(t *testing.T) {
	server := Server{
		Name: "HQ floor 1", HostID: "H1", Type: "AS-P", Role: "field", Site: "hq", Owner: "Example", Version: "7.0.2",
		ParentName: "HQ", System: "HQ", Agent: "hq-es", Labels: map[string]string{"building": "hq"},
	}
	require.Equal(t, map[string]string{
		"name": "HQ floor 1", "host": "H1", "type": "AS-P", "role": "field", "site": "hq", "owner": "Example",
		"version": "7.0.2", "parent": "HQ", "system": "HQ", "agent": "hq-es", "building": "hq",
	}, server.Attributes())

	// What has no value does not exist; a label never takes an attribute's place.
	observed := Server{Name: "H2", Labels: map[string]string{"site": "hq", "name": "other"}}
	require.Equal(t, map[string]string{"name": "H2"}, observed.Attributes())
}
