package runtime

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// No part of the seam may be deployed.
func TestTheSeamIsNeverDeployed(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"ESLINK_ENDPOINT_NLB", "ESLINK_DNS", "ESLINK_ROUTER", "ESLINK_CLOCK"} {
		_, err := parse([]byte(strings.Replace(small, "MORE: '1'", name+": '1'", 1)), getenv(nil))
		assert.ErrorContains(t, err, "never deployed", name)
	}
}

// A function is cut at its own timeout, whatever it would have done later.
func TestATimeoutIsTheFunctionsOwn(t *testing.T) {
	t.Parallel()
	p, _ := platform(t, func(_ *Config, f *Function) { f.Timeout = 1 })
	ask(t, p, "") // start-up is not counted
	r, _ := ask(t, p, "sleep")
	assert.Equal(t, unhandled, r.ErrorType)
	assert.GreaterOrEqual(t, r.Duration, time.Second)
	assert.Less(t, r.Duration, 5*time.Second)
}

// Who signs the body's digest, as the V3 SDKs do, has the body covered.
func TestASignedBodyIsHeldToItsSignature(t *testing.T) {
	t.Parallel()
	p, h, events := gateway(t, "{authType: function, methods: [POST]}")
	key := p.Account.RootKey()
	sign := func(body string) *http.Request {
		r := request("POST", "/", body)
		hash := sha256.Sum256([]byte(`{"a":1}`))
		digest := hex.EncodeToString(hash[:])
		r.Header.Set("x-acs-date", time.Now().UTC().Format(time.RFC3339))
		r.Header.Set("x-acs-content-sha256", digest)
		signed := []string{"x-acs-content-sha256", "x-acs-date"}
		r.Header.Set("Authorization", fmt.Sprintf("%s Credential=%s,SignedHeaders=%s,Signature=%s", scheme, key.AccessKeyID,
			strings.Join(signed, ";"), signature(r, signed, digest, key.AccessKeySecret)))
		return r
	}
	status, body, _ := call(h, sign(`{"a":1}`))
	assert.Equal(t, 200, status, body)
	status, _, _ = call(h, sign(`{"a":2}`))
	assert.Equal(t, 403, status)
	assert.Len(t, *events, 1)
}

// A key verifies by its own algorithm, though another of the set has the token's.
func TestAKeyVerifiesByItsOwnAlgorithm(t *testing.T) {
	t.Parallel()
	one, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	two, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	jwks, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
		{Key: one.Public(), KeyID: "k1", Algorithm: "RS256", Use: "sig"}, {Key: two.Public(), KeyID: "k2", Algorithm: "PS256", Use: "sig"}}})
	require.NoError(t, err)
	_, h, _ := gateway(t, `{authType: jwt, methods: [POST], authConfig: {jwks: `+string(jwks)+`, tokenLookup: 'query:token'}}`)
	for alg, want := range map[jose.SignatureAlgorithm]int{jose.RS256: 200, jose.PS256: 401} {
		s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: one}, (&jose.SignerOptions{}).WithHeader("kid", "k1"))
		require.NoError(t, err)
		token, err := jwt.Signed(s).Claims(map[string]any{"exp": time.Now().Add(time.Hour).Unix()}).Serialize()
		require.NoError(t, err)
		status, body, _ := call(h, request("POST", "/?token="+token, "{}"))
		assert.Equal(t, want, status, "%s: %s", alg, body)
	}
}
