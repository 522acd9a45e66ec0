// Package bmstest is a simulated system of BMS servers: a top server and the servers below it, each with its own host key,
// certificate, trusted store on disk and License Information. It checks responses as the protocol says and speaks the
// reference format.
//
// A System is a bms.System by itself, for fast tests in one process; Start serves the same thing over HTTPS, for the rest
// driver. Everything that a server must not forget is on disk before a call returns: after a SIGKILL at any instant, New
// with the same folder gives the same servers.
package bmstest
