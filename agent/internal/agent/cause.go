package agent

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"os"

	"github.com/licet-project/licet/shared/exchange"
)

// cause is why nobody answered, in words that stay the same while the cause does: no ports, no times, so that a report
// under the same trouble keeps its digest.
func cause(err error) string {
	var refusal *exchange.Refusal
	var dns *net.DNSError
	var op *net.OpError
	var call *os.SyscallError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &refusal):
		return refusal.Error()
	case errors.Is(err, context.DeadlineExceeded) || os.IsTimeout(err):
		return "no answer in time"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired: // its text has the time in it
		return "its certificate has expired or is not yet valid"
	case errors.As(err, &dns):
		return "its name is not known to DNS"
	case errors.As(err, &call):
		return call.Error()
	case errors.As(err, &op) && op.Err != nil:
		return op.Op + ": " + op.Err.Error()
	}
	return err.Error()
}
