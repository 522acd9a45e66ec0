package bms

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// trusting knows the server at host by the certificates in the PEM text and by nothing else. Devices carry certificates
// that they made themselves, with names that fit no address: one that is itself in the text is known by its bytes; every
// other needs a chain that ends in the text, and the name of the host.
func trusting(host string, text []byte) (*tls.Config, error) {
	trusted, err := certificates(text)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	for _, certificate := range trusted {
		roots.AddCert(certificate)
	}
	verify := func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 {
			return errors.New("the server shows no certificate")
		}
		served := state.PeerCertificates[0]
		options := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool(), DNSName: host}
		for _, certificate := range trusted {
			if bytes.Equal(certificate.Raw, served.Raw) {
				options.DNSName, options.KeyUsages = "", []x509.ExtKeyUsage{x509.ExtKeyUsageAny}
			}
		}
		for _, certificate := range state.PeerCertificates[1:] {
			options.Intermediates.AddCert(certificate)
		}
		if _, err := served.Verify(options); err != nil {
			return fmt.Errorf("the server's certificate is not the one that is trusted here: %w", err)
		}
		return nil
	}
	// crypto/tls cannot leave out the name alone, so its own verification is off and VerifyConnection, which also runs
	// for resumed sessions, does all of it.
	return &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true, VerifyConnection: verify}, nil
}

// certificates reads a trust file: certificates and nothing else, at least one.
func certificates(text []byte) ([]*x509.Certificate, error) {
	var found []*x509.Certificate
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("the trust file holds a %.40s: it should hold certificates alone", block.Type)
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("the trust file: certificate %d: %w", len(found)+1, err)
		}
		found = append(found, certificate)
	}
	if len(found) == 0 {
		return nil, errors.New("the trust file holds no certificate")
	}
	return found, nil
}
