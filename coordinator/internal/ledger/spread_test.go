package ledger

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestSpread(t *testing.T) {
	free := func(left int) option { return option{left: left} }
	has := func(left int, c Counts) option { return option{left: left, counts: c} }
	for name, c := range map[string]struct {
		total   int
		options []option
		want    []int
		ok      bool
	}{
		"earliest expiry first":                {2, []option{free(5), free(5)}, []int{2, 0}, true},
		"one line that can serve all":          {4, []option{free(3), free(5)}, []int{0, 4}, true},
		"several only if none can":             {6, []option{free(3), free(5)}, []int{3, 3}, true},
		"where it already is":                  {2, []option{free(5), has(5, Counts{Want: 1})}, []int{0, 2}, true},
		"where it already is cannot serve":     {3, []option{free(5), has(1, Counts{Want: 1})}, []int{2, 1}, true},
		"a seat on its way back costs nothing": {1, []option{free(5), has(0, Counts{Exposed: 1})}, []int{0, 1}, true},
		"not enough":                           {9, []option{free(3), free(5)}, []int{3, 5}, false},
		"no line":                              {1, nil, []int{}, false},
		"overcommitted":                        {1, []option{free(-2)}, []int{0}, false},
		"overcommitted, but wanted before":     {1, []option{has(-2, Counts{Want: 1})}, []int{1}, true},
		"unchanged":                            {2, []option{has(0, Counts{Want: 2, Ordered: 2})}, []int{2}, true},
		"lowered from the latest expiry":       {2, []option{has(0, Counts{Want: 2, Ordered: 2}), has(0, Counts{Want: 2, Ordered: 2})}, []int{2, 0}, true},
		"lowered first where nothing was sent": {2, []option{has(0, Counts{Want: 2}), has(0, Counts{Want: 2, Ordered: 2})}, []int{0, 2}, true},
		"to nothing":                           {0, []option{has(0, Counts{Want: 2}), has(0, Counts{Want: 2, Ordered: 1})}, []int{0, 0}, true},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := spread(c.total, c.options)
			require.Equal(t, c.want, got)
			require.Equal(t, c.ok, ok)
		})
	}
}

func TestSpreadNeverTakesMoreThanIsLeft(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		options := make([]option, rapid.IntRange(0, 4).Draw(t, "lines"))
		most := 0
		for i := range options {
			c := Counts{Want: rapid.IntRange(0, 3).Draw(t, "want"), Ordered: rapid.IntRange(0, 3).Draw(t, "ordered"), Exposed: rapid.IntRange(0, 3).Draw(t, "exposed")}
			options[i] = option{left: rapid.IntRange(-2, 4).Draw(t, "left"), counts: c}
			most += max(c.Want, c.Held()+max(options[i].left, 0))
		}
		total := rapid.IntRange(0, 12).Draw(t, "total")
		wants, ok := spread(total, options)
		sum := 0
		for i, o := range options {
			sum += wants[i]
			after := o.counts
			after.Want = wants[i]
			require.LessOrEqual(t, after.Held()-o.counts.Held(), max(o.left, 0), "line %d", i)
			require.GreaterOrEqual(t, wants[i], 0)
		}
		require.Equal(t, total <= most, ok)
		if ok {
			require.Equal(t, total, sum)
		}
	})
}
