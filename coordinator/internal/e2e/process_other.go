//go:build !linux

package e2e

import "syscall"

// ownGroup is nothing special where the kernel cannot tie a process to its starter.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }
