package main

import (
	"fmt"
	"os"
	"path/filepath"
)

const dropinName = "10-licet.conf"

// dropin is what is added to the unit that kardianos/service writes: a quick restart, but none after a mistake in the file,
// and no right that the agent does not need. It talks to BMS servers, to the broker and to the activation server, and
// writes nowhere but in its data folder, a path without anything that systemd would expand.
func dropin(data string) string {
	return fmt.Sprintf(`# Written by licet-agent install, removed by licet-agent uninstall.
[Unit]
StartLimitIntervalSec=0

[Service]
RestartSec=5
RestartPreventExitStatus=2
TimeoutStopSec=30
UMask=0077
ReadWritePaths=%q
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
CapabilityBoundingSet=
NoNewPrivileges=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
`, data)
}

func (m manager) writeDropin(data string) error {
	if err := os.MkdirAll(m.dropins(), 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(m.dropins(), dropinName), []byte(dropin(data)), 0o644)
}
