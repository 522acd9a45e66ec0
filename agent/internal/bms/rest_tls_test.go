package bms_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/agent/internal/bms"
	"github.com/licet-project/licet/agent/internal/bms/bmstest"
	"github.com/licet-project/licet/shared/exchange"
)

// issued is a certificate with its key; by itself if there is no issuer.
type issued struct {
	*x509.Certificate
	key *ecdsa.PrivateKey
}

func issue(t *testing.T, issuer *issued, edit func(*x509.Certificate)) *issued {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: t.Name()},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true,
	}
	edit(template)
	parent, signer := template, key
	if issuer != nil {
		parent, signer = issuer.Certificate, issuer.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	require.NoError(t, err)
	certificate, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return &issued{certificate, key}
}

func authority(c *x509.Certificate) { c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign }
func loopback(c *x509.Certificate)  { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} }
func elsewhere(c *x509.Certificate) { c.DNSNames = []string{"hq.example.com"} }

func (i *issued) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.Raw})
}

// ask connects to a server with the chain, trusting the text.
func ask(t *testing.T, trust []byte, edit func(*tls.Config), chain ...*issued) error {
	t.Helper()
	served := tls.Certificate{PrivateKey: chain[0].key}
	for _, c := range chain {
		served.Certificate = append(served.Certificate, c.Raw)
	}
	server := httptest.NewUnstartedServer(says(200, "application/json", `{"servers":[{"host_id":"T","role":"top"}]}`))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{served}}
	edit(server.TLS)
	server.StartTLS()
	defer server.Close()
	driver, err := bms.NewREST(bms.Options{Address: server.URL, Trust: trust})
	require.NoError(t, err)
	defer driver.Close()
	_, err = driver.Servers(t.Context())
	return err
}

func TestWhichServersAreTrusted(t *testing.T) {
	root := issue(t, nil, authority)
	middle := issue(t, root, authority)
	own := issue(t, nil, elsewhere)
	stranger := issue(t, nil, loopback)
	as := func(*tls.Config) {}
	old := func(c *x509.Certificate) { loopback(c); c.NotAfter = time.Now().Add(-time.Minute) }
	client := func(c *x509.Certificate) {
		loopback(c)
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	expired, forClients := issue(t, nil, old), issue(t, nil, client)
	for name, c := range map[string]struct {
		trust []byte
		edit  func(*tls.Config)
		chain []*issued
		want  string
	}{
		"the file's own, whatever its names are":    {own.pem(), as, []*issued{own}, ""},
		"the file's own among others":               {append(root.pem(), own.pem()...), as, []*issued{own}, ""},
		"the file's own, for other uses":            {forClients.pem(), as, []*issued{forClients}, ""},
		"the file's own, but expired":               {expired.pem(), as, []*issued{expired}, "expired"},
		"from the file's authority":                 {root.pem(), as, []*issued{issue(t, root, loopback)}, ""},
		"from it by way of another":                 {root.pem(), as, []*issued{issue(t, middle, loopback), middle}, ""},
		"from it, but the way is not shown":         {root.pem(), as, []*issued{issue(t, middle, loopback)}, "unknown authority"},
		"from it, but for another name":             {root.pem(), as, []*issued{issue(t, root, elsewhere)}, "127.0.0.1"},
		"from it, but expired":                      {root.pem(), as, []*issued{issue(t, root, old)}, "expired"},
		"from it, but for clients":                  {root.pem(), as, []*issued{issue(t, root, client)}, "incompatible key usage"},
		"a stranger's":                              {own.pem(), as, []*issued{stranger}, "not the one that is trusted here"},
		"a stranger's that shows the right one too": {own.pem(), as, []*issued{stranger, own}, "not the one that is trusted here"},
		"the right one over an old TLS":             {own.pem(), func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, []*issued{own}, "protocol version"},
	} {
		t.Run(name, func(t *testing.T) {
			err := ask(t, c.trust, c.edit, c.chain...)
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			requireNoRefusal(t, err)
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestOptionsThatMakeNoDriver(t *testing.T) {
	own := issue(t, nil, elsewhere)
	good := own.pem()
	key, err := x509.MarshalPKCS8PrivateKey(own.key)
	require.NoError(t, err)
	for _, c := range []struct {
		address string
		trust   []byte
		want    string
	}{
		{"", good, "should look like https://10.20.0.10"},
		{"10.20.0.10", good, "should look like"},
		{"http://10.20.0.10", good, "should look like"},
		{"https://10.20.0.10/api", good, "should look like"},
		{"https://user:secret@10.20.0.10", good, "should look like"},
		{"https://10.20.0.10", nil, "the trust file holds no certificate"},
		{"https://10.20.0.10", []byte("hello"), "the trust file holds no certificate"},
		{"https://10.20.0.10", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), "holds a PRIVATE KEY"},
		{"https://10.20.0.10", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: key}), "certificate 1"},
	} {
		_, err := bms.NewREST(bms.Options{Address: c.address, Trust: c.trust})
		require.ErrorContains(t, err, c.want, c.address)
		require.NotContains(t, err.Error(), "secret")
	}
	_, err = bms.NewREST(bms.Options{Address: "https://10.20.0.10/", Trust: good})
	require.NoError(t, err)
}

func TestOneConnectionServesManyCalls(t *testing.T) {
	var connections atomic.Int32
	server := httptest.NewUnstartedServer(says(200, "application/json", `{"servers":[{"host_id":"T","role":"top"}]}`))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.StartTLS()
	defer server.Close()
	trust := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	driver, err := bms.NewREST(bms.Options{Address: strings.Replace(server.URL, "127.0.0.1", "localhost", 1), Trust: trust})
	require.NoError(t, err)
	defer driver.Close()
	for range 5 {
		_, err = driver.Servers(t.Context())
		require.NoError(t, err)
	}
	require.EqualValues(t, 1, connections.Load())
}

func TestAServerThatEndedIsNoRefusal(t *testing.T) {
	sim, err := bmstest.New(bmstest.Options{Dir: t.TempDir(), Servers: []bmstest.Server{{HostID: "T"}}})
	require.NoError(t, err)
	driver := open(t, sim)
	_, err = driver.Servers(t.Context())
	require.NoError(t, err)
	require.NoError(t, sim.Close())
	require.Empty(t, sim.URL())
	_, err = driver.Servers(t.Context())
	requireNoRefusal(t, err)
	require.ErrorContains(t, err, "connection refused")
}

// A kept connection that dies under a call is not worth an error: every call may be made again.
func TestAStaleConnectionIsNoError(t *testing.T) {
	var asked atomic.Int32
	driver := hostile(t, 0, func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 2 {
			panic(http.ErrAbortHandler)
		}
		w.Header().Set(bms.RESTHostHeader, "T")
		says(200, exchange.MediaType, "message")(w, r)
	})
	for range 2 {
		_, err := driver.ApplyResponse(t.Context(), "T", []byte("x"))
		require.NoError(t, err)
	}
	require.EqualValues(t, 3, asked.Load())
}
