package bmstest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"time"

	"github.com/licet-project/licet/agent/internal/bms"
	"github.com/licet-project/licet/agent/internal/durable"
	"github.com/licet-project/licet/shared/signed"
)

// identity is what a server proves itself with: the host key signs its requests, the certificate is served.
type identity struct {
	key         signed.Key
	certificate tls.Certificate
}

// Files of a server's folder, beside the store. The trust file holds the certificate that its agents trust.
const (
	keyFile         = "host-key.pem"
	certificateFile = "tls.pem"
	trustFile       = "certificate.pem"
	maxPEM          = 64 << 10
)

// openIdentity reads both, or makes them. They never change afterwards; each file appears whole or not at all.
func openIdentity(folder *durable.Folder, host bms.HostID) (identity, error) {
	key, err := openHostKey(folder)
	if err != nil {
		return identity{}, err
	}
	certificate, err := openCertificate(folder, host)
	if err != nil {
		return identity{}, err
	}
	id := identity{key: key, certificate: certificate}
	if written, err := folder.Read(trustFile, maxPEM); err != nil || !bytes.Equal(written, id.trust()) {
		if err := folder.Write(trustFile, id.trust()); err != nil {
			return identity{}, fmt.Errorf("write the certificate: %w", err)
		}
	}
	return id, nil
}

// openHostKey is signed.OpenKey, but a crash while the key is written leaves no half a file at its path.
func openHostKey(folder *durable.Folder) (signed.Key, error) {
	key, err := signed.ReadKey(folder.Path(keyFile))
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	const beside = keyFile + ".new"
	if err := folder.Remove(beside); err != nil {
		return signed.Key{}, fmt.Errorf("make the host key: %w", err)
	}
	if key, err = signed.OpenKey(folder.Path(beside)); err != nil {
		return signed.Key{}, err
	}
	if err := folder.Rename(beside, keyFile); err != nil {
		return signed.Key{}, fmt.Errorf("make the host key: %w", err)
	}
	return key, nil
}

// openCertificate reads certificate and key from one file, or makes them there.
func openCertificate(folder *durable.Folder, host bms.HostID) (tls.Certificate, error) {
	data, err := folder.Read(certificateFile, maxPEM)
	if errors.Is(err, fs.ErrNotExist) {
		if data, err = newCertificate(host); err == nil {
			err = folder.Write(certificateFile, data)
		}
	}
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("open the server's certificate: %w", err)
	}
	certificate, err := tls.X509KeyPair(data, data)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("open the server's certificate: %s: %w", folder.Path(certificateFile), err)
	}
	return certificate, nil
}

// newCertificate is a certificate as a server makes it for itself on its first day, and its key: PEM.
func newCertificate(host bms.HostID) ([]byte, error) {
	now := time.Now() // not the simulated clock: clients judge it by theirs
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: fmt.Sprintf("%.64s", host), Organization: []string{"Simulated BMS server"}},
		NotBefore:    now.Add(-24 * time.Hour).UTC(), NotAfter: now.AddDate(10, 0, 0).UTC(),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		DNSNames:              []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...), nil
}

// trust is the served certificate as PEM, without the key.
func (i identity) trust() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.certificate.Certificate[0]})
}

// fingerprint is the SHA-256 of the served certificate.
func (i identity) fingerprint() string {
	sum := sha256.Sum256(i.certificate.Certificate[0])
	return hex.EncodeToString(sum[:])
}
