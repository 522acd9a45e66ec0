//go:build !race

package activation_test

const chaosChecks = "100"
