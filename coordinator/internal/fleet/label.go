package fleet

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits of labels.
const (
	maxLabels     = 32
	maxLabelValue = 100 // characters
)

// parseLabels reads key=value;key=value. It says everything that is wrong with it.
func parseLabels(text string) (map[string]string, []string) {
	labels := map[string]string{}
	var problems []string
	wrong := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	if strings.TrimSpace(text) == "" {
		return labels, nil
	}
	for pair := range strings.SplitSeq(text, ";") {
		key, value, has := strings.Cut(pair, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		_, twice := labels[key]
		switch {
		case key == "" && value == "" && !has:
			wrong("a label is missing between semicolons: write key=value;key=value")
		case !has || key == "" || value == "":
			wrong("%q is not key=value", clip(strings.TrimSpace(pair)))
		case strings.ContainsFunc(key, func(r rune) bool { return !keyRune(r) }):
			wrong("%q is not a key: keys are letters, digits and . _ - /", clip(key))
		case len(key) > maxKey:
			wrong("the key %q is longer than %d characters", clip(key), maxKey)
		case attributeNames[strings.ToLower(key)]:
			wrong("%q is an attribute of every server: a label cannot have its name", key)
		case utf8.RuneCountInString(value) > maxLabelValue:
			wrong("the value of %s is longer than %d characters", key, maxLabelValue)
		case strings.ContainsAny(value, ",()=!"):
			wrong("the value of %s has one of , ( ) = ! and no selector could name it", key)
		case twice:
			wrong("%s stands twice", key)
		default:
			labels[key] = value
		}
	}
	if len(labels) > maxLabels {
		wrong("%d labels, at most %d are allowed", len(labels), maxLabels)
	}
	return labels, problems
}

// labelText is the labels as parseLabels reads them.
func labelText(labels map[string]string) string {
	pairs := make([]string, 0, len(labels))
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		pairs = append(pairs, key+"="+labels[key])
	}
	return strings.Join(pairs, ";")
}
