//go:build race

package activation_test

// The race detector makes everything some ten times slower: few cases with it, many without.
const chaosChecks = "15"
