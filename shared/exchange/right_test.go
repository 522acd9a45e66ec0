package exchange

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestActivationIDNeverPrints(t *testing.T) {
	const secret = "DEMO-ACT-7f3a-0001"
	id := ActivationID(secret)
	held := struct {
		ID    ActivationID
		Right Right
	}{id, Right{id, 3}}
	for _, format := range []string{"%s", "%v", "%+v", "%#v", "%q", "%x", "%X", "%d", "%10s", "%.3s"} {
		for _, value := range []any{id, &id, held, &held, []ActivationID{id}, map[string]ActivationID{"a": id}} {
			text := fmt.Sprintf(format, value)
			require.NotContains(t, text, "7f3a", format)
			require.NotContains(t, strings.ToLower(text), fmt.Sprintf("%x", secret[:4]), format)
		}
	}
	require.Equal(t, "****0001", id.String())
	require.Equal(t, secret, id.Reveal())
	for _, value := range []any{id, held, []ActivationID{id}, map[string]ActivationID{"a": id}} {
		data, err := json.Marshal(value)
		require.Error(t, err, "%s", data)
		require.NotContains(t, err.Error(), "7f3a")
	}
}

func TestMaskShowsAThirdAtMost(t *testing.T) {
	for id, want := range map[ActivationID]string{
		"": "****", "A": "****", "ABC": "****C", "ABCDEF": "****EF", "ABCDEFGHIJKLMNOP": "****MNOP", "ÄÖÜ€€€": "****€€",
	} {
		require.Equal(t, want, id.String())
	}
}

func TestRightIDNamesTheRightWithoutDisclosingIt(t *testing.T) {
	a, b := ActivationID("DEMO-ACT-1").RightID(), ActivationID("DEMO-ACT-2").RightID()
	require.NotEqual(t, a, b)
	require.Equal(t, RightID(DigestOf([]byte("DEMO-ACT-1"))), a)
	_, err := ParseDigest(string(a))
	require.NoError(t, err)
}

func TestCheckActivationID(t *testing.T) {
	for _, good := range []ActivationID{"A", "DEMO-ACT-7f3a-0001", "with a space", "Zürich_1:2;3*4+5", ActivationID(strings.Repeat("ä", 255))} {
		require.NoError(t, CheckActivationID(good))
	}
	for id, want := range map[ActivationID]string{
		"":                                     "is empty",
		ActivationID(strings.Repeat("ä", 256)): "has 256 characters, at most 255",
		"AB\tC":                                "character 3 of the activation ID is a control or invisible character (U+0009)",
		"AB\u202eC":                            "(U+202E)",
		"AB\u00a0C":                            "(U+00A0)",
		"AB\u200bC":                            "(U+200B)",
		"A\xffB":                               "is not UTF-8",
	} {
		require.ErrorContains(t, CheckActivationID(id), want)
	}
	for _, r := range ForbiddenInRights {
		err := CheckActivationID(ActivationID("DEMO" + string(r)))
		require.ErrorContains(t, err, "which an activation ID cannot contain")
		require.NotContains(t, err.Error(), "DEMO")
	}
}

func TestParseDigest(t *testing.T) {
	good := DigestOf([]byte("x"))
	got, err := ParseDigest(string(good))
	require.NoError(t, err)
	require.Equal(t, good, got)
	require.Equal(t, string(good)[:12], good.Short())
	require.Equal(t, "abc", Digest("abc").Short())
	for _, bad := range []string{"", "abc", strings.ToUpper(string(good)), string(good) + "00", string(good[:63]) + "g", " " + string(good[1:])} {
		_, err := ParseDigest(bad)
		require.Error(t, err, bad)
	}
}

func TestOrderIsTotal(t *testing.T) {
	orders := rapid.Custom(func(t *rapid.T) Order {
		return Order{rapid.Int64Range(0, 3).Draw(t, "epoch"), rapid.Int64Range(0, 3).Draw(t, "generation")}
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := orders.Draw(t, "a"), orders.Draw(t, "b"), orders.Draw(t, "c")
		require.Equal(t, a.Compare(b), -b.Compare(a))
		require.Equal(t, a == b, a.Compare(b) == 0)
		if a.Before(b) && b.Before(c) {
			require.True(t, a.Before(c))
		}
		if a.Epoch < b.Epoch {
			require.True(t, a.Before(b), "the epoch comes first")
		}
	})
	require.Equal(t, "17.4", Order{17, 4}.String())
}
