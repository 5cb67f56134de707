package cloud

import (
	"cmp"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// skew is how far a request's timestamp may be from ours; a nonce is remembered for twice that.
const skew = 15 * time.Minute

// message is a request as read from the wire.
type message struct {
	*http.Request
	body        []byte
	query, form url.Values
}

// authenticate checks who signed. Three schemes are told apart as the cloud does: by the Authorization header, and
// without one it is an RPC call whose signature is a parameter.
func (a *Account) authenticate(m *message, roa bool) (Principal, *Error) {
	authorization := m.Header.Get("Authorization")
	if fields, ok := strings.CutPrefix(authorization, "ACS3-HMAC-SHA256 "); ok {
		return a.authenticateACS3(m, fields)
	}
	if !roa && authorization == "" {
		return a.authenticateRPC(m)
	}
	if rest, ok := strings.CutPrefix(authorization, "acs "); ok && roa {
		return a.authenticateROA(m, rest)
	}
	if authorization == "" {
		return Principal{}, missing("Authorization")
	}
	return Principal{}, Errorf(400, "IncompleteSignature", "The request signature does not conform to Aliyun standards.")
}

// authenticateRPC: signature version 1.0 over all parameters of query and form (API document "RPC signature V1";
// alibaba-cloud-sdk-go sdk/auth/rpc_signature_composer.go).
func (a *Account) authenticateRPC(m *message) (Principal, *Error) {
	params := map[string]string{}
	for _, values := range []url.Values{m.query, m.form} {
		for name := range values {
			params[name] = values.Get(name)
		}
	}
	for _, name := range []string{"AccessKeyId", "Signature", "SignatureMethod", "SignatureVersion", "SignatureNonce", "Timestamp"} {
		if params[name] == "" {
			return Principal{}, missing(name)
		}
	}
	if params["SignatureMethod"] != "HMAC-SHA1" || params["SignatureVersion"] != "1.0" {
		return Principal{}, Errorf(400, "UnsupportedSignatureMethod", "The signature method or version is not supported.")
	}
	signature := params["Signature"]
	delete(params, "Signature")
	secret, p, err := a.Secret(params["AccessKeyId"], params["SecurityToken"])
	if err != nil {
		return p, err
	}
	at, bad := time.Parse("2006-01-02T15:04:05Z", params["Timestamp"])
	if bad != nil {
		return p, Errorf(400, "InvalidTimeStamp.Format", "Specified time stamp or date value is not well formatted.")
	}
	want := hmacSHA1(secret+"&", m.Method+"&%2F&"+percent(canonical(params)))
	if !hmac.Equal([]byte(signature), []byte(want)) {
		return p, mismatch()
	}
	return p, a.fresh(at, params["AccessKeyId"], params["SignatureNonce"])
}

// authenticateROA: "acs AccessKeyId:signature" over method, four headers, the x-acs- headers and the resource (API
// document "ROA signature V1"; alibaba-cloud-sdk-go sdk/auth/roa_signature_composer.go). The nonce is optional there.
func (a *Account) authenticateROA(m *message, authorization string) (Principal, *Error) {
	id, signature, _ := strings.Cut(authorization, ":")
	secret, p, err := a.Secret(id, m.Header.Get("x-acs-security-token"))
	if err != nil {
		return p, err
	}
	at, bad := http.ParseTime(m.Header.Get("Date"))
	if bad != nil {
		return p, Errorf(400, "InvalidTimeStamp.Format", "Specified time stamp or date value is not well formatted.")
	}
	sum := md5.Sum(m.body)
	if got := m.Header.Get("Content-MD5"); got != base64.StdEncoding.EncodeToString(sum[:]) && (got != "" || len(m.body) > 0) {
		return p, Errorf(400, "ContentMD5NotMatched", "Specified Content-MD5 is not matched with the body.")
	}
	var b strings.Builder
	b.WriteString(m.Method + "\n")
	for _, name := range []string{"Accept", "Content-MD5", "Content-Type", "Date"} {
		b.WriteString(m.Header.Get(name) + "\n")
	}
	var headers []string
	for name := range m.Header {
		if name := strings.ToLower(name); strings.HasPrefix(name, "x-acs-") {
			headers = append(headers, name+":"+strings.TrimSpace(m.Header.Get(name))+"\n")
		}
	}
	slices.Sort(headers)
	b.WriteString(strings.Join(headers, "") + m.URL.Path)
	for i, name := range sorted(m.query) {
		b.WriteString(string("?&"[min(i, 1)]) + name)
		if v := m.query.Get(name); v != "" {
			b.WriteString("=" + v)
		}
	}
	if !hmac.Equal([]byte(signature), []byte(hmacSHA1(secret, b.String()))) {
		return p, mismatch()
	}
	return p, a.fresh(at, id, m.Header.Get("x-acs-signature-nonce"))
}

// authenticateACS3: API document "V3 request body and signature mechanism".
func (a *Account) authenticateACS3(m *message, fields string) (Principal, *Error) {
	part := map[string]string{}
	for _, f := range strings.Split(fields, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(f), "=")
		part[name] = value
	}
	secret, p, err := a.Secret(part["Credential"], m.Header.Get("x-acs-security-token"))
	if err != nil {
		return p, err
	}
	signed := strings.Split(part["SignedHeaders"], ";")
	need := []string{"host", "x-acs-action", "x-acs-content-sha256", "x-acs-date", "x-acs-signature-nonce", "x-acs-version"}
	if m.Header.Get("x-acs-security-token") != "" {
		need = append(need, "x-acs-security-token")
	}
	for _, name := range need {
		if name != "host" && m.Header.Get(name) == "" {
			return p, missing(name)
		}
		if !slices.Contains(signed, name) {
			return p, Errorf(400, "IncompleteSignature", "Header %s is not signed.", name)
		}
	}
	at, bad := time.Parse("2006-01-02T15:04:05Z", m.Header.Get("x-acs-date"))
	if bad != nil {
		return p, Errorf(400, "InvalidTimeStamp.Format", "Specified time stamp or date value is not well formatted.")
	}
	digest := hexSHA256(m.body) // not the header's, which the signature covers too: a body that differs cannot match
	var headers strings.Builder
	for _, name := range signed {
		value := m.Header.Get(name)
		if name == "host" {
			value = m.Host
		}
		headers.WriteString(name + ":" + strings.TrimSpace(value) + "\n")
	}
	params := map[string]string{}
	for name := range m.query {
		params[name] = m.query.Get(name)
	}
	query := canonical(params)
	// An empty value is "name=" in the document, and "name" as some SDKs sign it.
	ok := false
	for _, query := range []string{query, strings.TrimSuffix(strings.ReplaceAll(query+"&", "=&", "&"), "&")} {
		request := strings.Join([]string{m.Method, cmp.Or(m.URL.EscapedPath(), "/"), query, headers.String(), part["SignedHeaders"], digest}, "\n")
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte("ACS3-HMAC-SHA256\n" + hexSHA256([]byte(request))))
		ok = ok || hmac.Equal([]byte(part["Signature"]), []byte(hex.EncodeToString(mac.Sum(nil))))
	}
	if !ok {
		return p, mismatch()
	}
	return p, a.fresh(at, part["Credential"], m.Header.Get("x-acs-signature-nonce"))
}

type nonce struct {
	at    time.Time
	value string
}

// fresh refuses a request from another time, or one whose nonce was used. It comes after the signature check, so that
// nobody can burn another's nonce.
func (a *Account) fresh(at time.Time, accessKeyID, value string) *Error {
	now := a.signNow()
	if at.Before(now.Add(-skew)) || at.After(now.Add(skew)) {
		return Errorf(400, "InvalidTimeStamp.Expired", "Specified time stamp or date value is expired.")
	}
	if value == "" {
		return nil
	}
	value = accessKeyID + "/" + value
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.nonces) > 0 && a.nonces[0].at.Before(now.Add(-2*skew)) {
		delete(a.seen, a.nonces[0].value)
		a.nonces = a.nonces[1:]
	}
	if a.seen[value] {
		return Errorf(400, "SignatureNonceUsed", "Specified signature nonce was used already.")
	}
	a.seen[value] = true
	a.nonces = append(a.nonces, nonce{now, value})
	return nil
}

func missing(name string) *Error {
	return Errorf(400, "Missing"+name, "%s is mandatory for this action.", name)
}

// mismatch does not show our string to sign, as the cloud does: it holds the security token.
func mismatch() *Error {
	return Errorf(400, "SignatureDoesNotMatch", "Specified signature is not matched with our calculation.")
}

// canonical is name=value of all parameters, percent-encoded and sorted.
func canonical(params map[string]string) string {
	list := make([]string, 0, len(params))
	for _, name := range sorted(params) {
		list = append(list, percent(name)+"="+percent(params[name]))
	}
	return strings.Join(list, "&")
}

// percent encodes as RFC 3986 says, which url.QueryEscape does but for three characters.
func percent(s string) string {
	return strings.NewReplacer("+", "%20", "*", "%2A", "%7E", "~").Replace(url.QueryEscape(s))
}

func hmacSHA1(secret, s string) string {
	mac := hmac.New(sha1.New, []byte(secret))
	mac.Write([]byte(s))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

func hexSHA256(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
