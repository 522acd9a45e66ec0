package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// decode takes a file's keys apart. A key that does not exist is a mistake that names the nearest one which does; a value
// of the wrong kind is one too. Nothing is guessed.
func decode(raw map[string]any) (config, mistakes) {
	d := &decoder{}
	var c config
	d.object("", raw, map[string]func(string, any){
		"agent":  d.text(&c.Agent),
		"broker": d.text(&c.Broker),
		"data":   d.text(&c.Data),
		"systems": func(key string, value any) {
			list, ok := value.([]any)
			if !ok {
				d.say(key, "should be a list, each entry with name, driver, address and trust")
				return
			}
			for i, value := range list {
				key := fmt.Sprintf("%s[%d]", key, i)
				c.Systems = append(c.Systems, d.system(key, value))
			}
		},
	})
	return c, d.mistakes
}

// mistake is what is wrong with a key.
type mistake struct{ key, text, meant string }

type mistakes []mistake

func (m *mistakes) say(key, format string, args ...any) {
	*m = append(*m, mistake{key: key, text: fmt.Sprintf(format, args...)})
}

// error is a line for each.
func (m mistakes) error() error {
	lines := make([]string, len(m))
	for i, one := range m {
		lines[i] = one.key + ": " + one.text
	}
	return errors.New(strings.Join(lines, "\n"))
}

// follows reports whether the mistake is only what another one leads to: a key that is missing because it is misspelled.
func (m mistake) follows(others mistakes) bool {
	return slices.ContainsFunc(others, func(other mistake) bool {
		return m.key == other.key || m.key == other.meant || strings.HasPrefix(m.key, other.key+".")
	})
}

type decoder struct{ mistakes }

func (d *decoder) system(key string, value any) systemConfig {
	var s systemConfig
	entry, ok := value.(map[string]any)
	if !ok {
		d.say(key, "should have name, driver, address and trust")
		return s
	}
	d.object(key+".", entry, map[string]func(string, any){
		"name": d.text(&s.Name), "driver": d.text(&s.Driver), "address": d.text(&s.Address), "trust": d.text(&s.Trust),
	})
	return s
}

// object hands each value to the reader of its key, in the order of the keys.
func (d *decoder) object(prefix string, values map[string]any, readers map[string]func(string, any)) {
	for _, key := range slices.Sorted(maps.Keys(values)) {
		read, known := readers[key]
		if known {
			read(prefix+key, values[key])
			continue
		}
		if near := nearest(key, slices.Sorted(maps.Keys(readers))); near != "" {
			d.mistakes = append(d.mistakes, mistake{prefix + key, "there is no such key; did you mean " + prefix + near + "?", prefix + near})
			continue
		}
		d.say(prefix+key, "there is no such key")
	}
}

func (d *decoder) text(into *string) func(string, any) {
	return func(key string, value any) {
		text, ok := value.(string)
		if !ok {
			d.say(key, "should be text, in quotes if need be")
			return
		}
		*into = text
	}
}

// nearest is the known word that the fewest changes lead to, or empty if none is near.
func nearest(word string, known []string) string {
	best, fewest := "", max(2, len(word)/3)+1
	for _, candidate := range known {
		if n := changes(word, candidate); n < fewest {
			best, fewest = candidate, n
		}
	}
	return best
}

// changes counts the letters to insert, remove or replace (Levenshtein), after both words are cut to a sane length.
func changes(a, b string) int {
	a, b = a[:min(len(a), 64)], b[:min(len(b), 64)]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
