package runtime

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"eslink/localtest/fakes/cloud"
)

const (
	scheme  = "ACS3-HMAC-SHA256"
	maxSkew = 15 * time.Minute
)

// refusal is an answer of FC's gateway: {"RequestId","Code","Message"}.
type refusal struct {
	status        int
	code, message string
}

// Sign signs a request to an HTTP trigger as Alibaba Cloud's page "Configure signature authentication for HTTP
// triggers" does: ACS3-HMAC-SHA256 over method, path, query and x-acs-* headers, with an empty payload hash.
func Sign(r *http.Request, c cloud.Credentials, now time.Time) {
	r.Header.Set("x-acs-date", now.UTC().Format(time.RFC3339))
	signed := []string{"x-acs-date"}
	if c.SecurityToken != "" {
		r.Header.Set("x-acs-security-token", c.SecurityToken)
		signed = append(signed, "x-acs-security-token")
	}
	r.Header.Set("Authorization", fmt.Sprintf("%s Credential=%s,SignedHeaders=%s,Signature=%s",
		scheme, c.AccessKeyID, strings.Join(signed, ";"), signature(r, signed, "", c.AccessKeySecret)))
}

// signature is that of the page "V3 request structure and signature".
func signature(r *http.Request, signed []string, payload, secret string) string {
	escape := func(s string) string {
		return strings.NewReplacer("+", "%20", "*", "%2A", "%7E", "~").Replace(url.QueryEscape(s))
	}
	var query []string
	for k, vs := range r.URL.Query() {
		for _, v := range vs {
			query = append(query, escape(k)+"="+escape(v))
		}
	}
	slices.Sort(query)
	path := strings.ReplaceAll(r.URL.Path, "$", "%24")
	if path == "" {
		path = "/"
	}
	var headers strings.Builder
	for _, name := range signed {
		value := strings.TrimSpace(r.Header.Get(name))
		if name == "host" {
			value = r.Host
		}
		fmt.Fprintf(&headers, "%s:%s\n", name, value)
	}
	canonical := strings.Join([]string{r.Method, strings.NewReplacer("+", "%20", "*", "%2A", "%7E", "~").Replace(path), strings.Join(query, "&"),
		headers.String(), strings.Join(signed, ";"), payload}, "\n")
	hash := sha256.Sum256([]byte(canonical))
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "%s\n%s", scheme, hex.EncodeToString(hash[:]))
	return hex.EncodeToString(mac.Sum(nil))
}

// verify checks a signed request. The messages are those of the page's questions and answers; the status is 403, as the
// page "Signature authentication" says for a missing or wrong signature (users report 400 for a missing date).
// Where the caller signs x-acs-content-sha256, as the V3 SDKs do, the body is covered too.
func (p *Platform) verify(r *http.Request, body []byte) (cloud.Principal, *refusal) {
	deny := func(code, format string, args ...any) (cloud.Principal, *refusal) {
		return cloud.Principal{}, &refusal{http.StatusForbidden, code, fmt.Sprintf(format, args...)}
	}
	date, layout := r.Header.Get("x-acs-date"), time.RFC3339
	if date == "" {
		date, layout = r.Header.Get("Date"), http.TimeFormat
	}
	if date == "" {
		return deny("MissingRequiredHeader", "required HTTP header Date was not specified")
	}
	at, err := time.Parse(layout, date)
	if err != nil {
		return deny("InvalidArgument", "invalid date %q", date)
	}
	// The machine's clock, not the world's: callers outside sign with theirs.
	if now := time.Now(); at.Sub(now).Abs() > maxSkew {
		return deny("InvalidArgument", "the difference between the request time '%s' and the current time '%s' is too large",
			at.UTC().Format(http.TimeFormat), now.UTC().Format(http.TimeFormat))
	}
	auth := r.Header.Get("Authorization")
	rest, ok := strings.CutPrefix(auth, scheme+" ")
	fields := map[string]string{}
	for _, part := range strings.Split(rest, ",") {
		k, v, _ := strings.Cut(strings.TrimSpace(part), "=")
		fields[k] = v
	}
	if !ok || fields["Credential"] == "" || fields["Signature"] == "" {
		return deny("InvalidArgument", "invalid authorization '%s'", strings.SplitN(auth, " ", 2)[0])
	}
	secret, who, refused := p.Account.Secret(fields["Credential"], r.Header.Get("x-acs-security-token"))
	if refused != nil {
		return deny(refused.Code, "%s", refused.Message)
	}
	signed := strings.Split(fields["SignedHeaders"], ";")
	for name := range r.Header {
		if name := strings.ToLower(name); strings.HasPrefix(name, "x-acs-") && !slices.Contains(signed, name) {
			return deny("SignatureNotMatch", "header %s is not signed", name)
		}
	}
	payload := ""
	if slices.Contains(signed, "x-acs-content-sha256") {
		hash := sha256.Sum256(body)
		payload = hex.EncodeToString(hash[:])
	}
	if !hmac.Equal([]byte(fields["Signature"]), []byte(signature(r, signed, payload, secret))) {
		return deny("SignatureNotMatch", "The request signature we calculated does not match the signature you provided. Check your access key and signing method")
	}
	return who, nil
}

// verify checks the first token that tokenLookup finds (RFC 7519: signature by a key of the set with that key's own
// algorithm, exp, nbf, iat), and passes claims on as claimPassBy says. The status and code of a refusal are not
// documented.
func (c *jwtRules) verify(r *http.Request, body []byte, now time.Time) *refusal {
	deny := func(format string, args ...any) *refusal {
		return &refusal{http.StatusUnauthorized, "InvalidJWT", fmt.Sprintf(format, args...)}
	}
	raw := c.find(r, body)
	if raw == "" {
		return deny("no token at %s", c.TokenLookup)
	}
	var algorithms []jose.SignatureAlgorithm
	for _, k := range c.keys.Keys {
		algorithms = append(algorithms, jose.SignatureAlgorithm(k.Algorithm))
	}
	token, err := jwt.ParseSigned(raw, algorithms)
	if err != nil {
		return deny("malformed token")
	}
	head := token.Headers[0]
	registered, claims := jwt.Claims{}, map[string]any{}
	verified := false
	for _, k := range c.keys.Keys {
		if k.Algorithm == head.Algorithm && (head.KeyID == "" || k.KeyID == "" || k.KeyID == head.KeyID) &&
			token.Claims(k.Key, &registered, &claims) == nil {
			verified = true
			break
		}
	}
	if !verified {
		return deny("no key of the set verifies the token")
	}
	if err := registered.ValidateWithLeeway(jwt.Expected{Time: now}, 0); err != nil {
		return deny("%s", strings.TrimPrefix(err.Error(), "go-jose/go-jose/jwt: "))
	}
	for _, p := range c.pass { // a caller must not be able to set these himself
		value, ok := claims[p[1]]
		text := fmt.Sprint(value)
		query := r.URL.Query()
		switch p[0] {
		case "header":
			r.Header.Del(p[2])
			if ok {
				r.Header.Set(p[2], text)
			}
		case "query":
			query.Del(p[2])
			if ok {
				query.Set(p[2], text)
			}
			r.URL.RawQuery = query.Encode()
		case "cookie":
			var kept []string
			for _, k := range r.Cookies() {
				if k.Name != p[2] {
					kept = append(kept, k.String())
				}
			}
			if ok {
				kept = append(kept, (&http.Cookie{Name: p[2], Value: text}).String())
			}
			r.Header.Set("Cookie", strings.Join(kept, "; "))
		}
	}
	return nil
}

func (c *jwtRules) find(r *http.Request, body []byte) string {
	for _, l := range c.lookup {
		token := ""
		switch l[0] {
		case "header":
			v := r.Header.Get(l[1])
			if rest, ok := strings.CutPrefix(v, l[2]); ok {
				token = strings.TrimSpace(rest)
			}
		case "cookie":
			if k, err := r.Cookie(l[1]); err == nil {
				token = k.Value
			}
		case "query":
			token = r.URL.Query().Get(l[1])
		case "form":
			form := r.Clone(r.Context())
			form.Body = io.NopCloser(bytes.NewReader(body))
			token = form.PostFormValue(l[1])
		}
		if token != "" {
			return token
		}
	}
	return ""
}
