package e2e

import "syscall"

// ownGroup keeps a Ctrl-C at the terminal from reaching the process (its starter stops it in order) and lets the kernel
// end it when its starter is gone.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
