package strictyaml

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

type file struct {
	Things []thing `yaml:"things"`
}

type thing struct {
	Name  string             `yaml:"name"`
	Count int                `yaml:"count"`
	Size  struct{ W, H int } `yaml:"size"`
	Tags  []string           `yaml:"tags"`
}

func TestDecodeKnowsWhereThingsStand(t *testing.T) {
	var f file
	at, mistakes := Decode([]byte("# comment\nthings:\n  - name: a\n    count: 1\n  - {name: b,\n     size: {w: 1, h: 2}}\n"), &f)
	require.Empty(t, mistakes)
	require.Len(t, f.Things, 2)
	require.Equal(t, 2, at.Line("things"))
	require.Equal(t, 3, at.Line("things", 0))
	require.Equal(t, 4, at.Line("things", 0, "count"))
	require.Equal(t, 3, at.Line("things", 0, "tags"), "missing: where its parent stands")
	require.Equal(t, 5, at.Line("things", 1, "name"))
	require.Equal(t, 6, at.Line("things", 1, "size", "h"))
	require.Equal(t, 2, at.Line("things", 7))
	require.Equal(t, 2, at.Line("nothing", 1, "x"))
	require.Zero(t, File{}.Line("x"))
}

func TestDecodeFindsEveryMistake(t *testing.T) {
	for text, want := range map[string][]Mistake{
		"":              {{0, "", "the file is empty"}},
		"# only this\n": {{0, "", "the file is empty"}},
		"things:\n- name: a\n  shade: red\n- nam: b\n  count: many\nmore: 1\n": {
			{3, "shade", "the key is not known"},
			{4, "nam", "the key is not known"},
			{5, "", "`many` is not a whole number"},
			{6, "more", "the key is not known"},
		},
		"things:\n- name: a\n  name: b\n":                     {{3, "name", "the key stands already in line 2"}},
		"things: 5\n":                                         {{1, "", "`5` is not a list or a group of keys"}},
		"things:\n- name: [a]\n":                              {{2, "", "a list is not text"}},
		"things:\n\t- name: a\n":                              {{2, "", "found character that cannot start any token"}},
		"things: []\n---\nthings: []\n":                       {{0, "", "the file has more than one document: what follows --- would be ignored"}},
		"things:\n- name: \xff\n":                             {{2, "", "the file is not UTF-8: save it as UTF-8"}},
		"x: " + strings.Repeat("y", MaxSize):                  {{0, "", "the file is larger than 4 MiB"}},
		"things:\n- name: a\n  count: 99999999999999999999\n": {{3, "", "`9999999...` is not a whole number"}},
	} {
		_, mistakes := Decode([]byte(text), new(file))
		require.Equal(t, want, mistakes, "%.60q", text)
	}
}

// TestDecodeIsBounded reads files that are made to hurt.
func TestDecodeIsBounded(t *testing.T) {
	var aliases strings.Builder
	aliases.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := '1'; i <= '9'; i++ {
		before := string(i - 1)
		aliases.WriteString("a" + string(i) + ": &a" + string(i) + " [" + strings.Repeat("*a"+before+", ", 9) + "*a" + before + "]\n")
	}
	for name, text := range map[string]string{
		"lists in lists": strings.Repeat("[", 100_000),
		"maps in maps":   strings.Repeat("{a: ", 100_000),
		"aliases":        aliases.String() + "things: *a9\n",
	} {
		_, mistakes := Decode([]byte(text), new(file))
		require.NotEmpty(t, mistakes, name)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("things:\n- name: a\n  count: 1\n"))
	f.Add([]byte("things: &x\n- *x\n"))
	f.Fuzz(func(_ *testing.T, data []byte) {
		var into file
		at, mistakes := Decode(data, &into)
		if len(mistakes) == 0 {
			at.Line("things", 0, "name")
		}
	})
}
