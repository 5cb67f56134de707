package aws

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"eslink/localtest/fakes/cloud"
)

const (
	algorithm  = "AWS4-HMAC-SHA256 "
	dateFormat = "20060102T150405Z"
	// maxSkew is how far a request's date may be from the service's.
	maxSkew = 15 * time.Minute
)

// authenticate checks a request's signature: what the SDK's signer makes of the
// same headers with the key's secret has to be what the request says.
func (f *Fake) authenticate(r *request, h *http.Request) *cloud.Error {
	header, ok := strings.CutPrefix(h.Header.Get("Authorization"), algorithm)
	if !ok {
		return cloud.Errorf(403, "MissingAuthenticationToken", "Request is missing Authentication Token")
	}
	fields := map[string]string{}
	for part := range strings.SplitSeq(header, ",") {
		k, v, _ := strings.Cut(strings.TrimSpace(part), "=")
		fields[k] = v
	}
	scope := strings.Split(fields["Credential"], "/")
	if len(scope) != 5 {
		return cloud.Errorf(400, "IncompleteSignature", "Credential must have five parts.")
	}
	if scope[2] != r.region || scope[3] != r.service {
		return cloud.Errorf(403, "SignatureDoesNotMatch", "Credential should be scoped to region %s and service %s.", r.region, r.service)
	}
	f.mu.Lock()
	k, known := f.keys[scope[0]]
	f.mu.Unlock()
	token := h.Header.Get("X-Amz-Security-Token")
	switch {
	case !known || k.session != token:
		return unknownKey(r.service)
	case !k.expires.IsZero() && !f.world.Now().Before(k.expires):
		code, ok := map[string]string{"ec2": "RequestExpired", "ssm": "ExpiredTokenException"}[r.service]
		if !ok {
			code = "ExpiredToken"
		}
		return cloud.Errorf(400, code, "The security token included in the request is expired")
	}
	at, err := time.Parse(dateFormat, h.Header.Get("X-Amz-Date"))
	if err != nil || at.Sub(f.world.SignNow()).Abs() > maxSkew {
		return cloud.Errorf(400, "RequestExpired", "The request's date is not near the service's.")
	}
	again, _ := http.NewRequestWithContext(context.Background(), h.Method, "https://"+h.Host+h.URL.RequestURI(), nil)
	again.ContentLength = int64(len(r.body))
	signed := strings.Split(fields["SignedHeaders"], ";")
	for name, values := range h.Header {
		if lower := strings.ToLower(name); slices.Contains(signed, lower) && lower != "x-amz-date" && lower != "x-amz-security-token" {
			again.Header[name] = values
		}
	}
	if !slices.Contains(signed, "host") || !slices.Contains(signed, "x-amz-date") {
		return cloud.Errorf(403, "SignatureDoesNotMatch", "Host and date must be signed.")
	}
	if !slices.Contains(signed, "content-length") {
		again.ContentLength = 0
	}
	sum := sha256.Sum256(r.body)
	if err := v4.NewSigner().SignHTTP(context.Background(), sdk.Credentials{AccessKeyID: scope[0], SecretAccessKey: k.secret, SessionToken: k.session}, again, hex.EncodeToString(sum[:]), r.service, r.region, at); err != nil {
		return cloud.Errorf(400, "IncompleteSignature", "%s", err)
	}
	_, want, _ := strings.Cut(again.Header.Get("Authorization"), "Signature=")
	if subtle.ConstantTimeCompare([]byte(want), []byte(fields["Signature"])) != 1 {
		if r.service == "ec2" {
			return cloud.Errorf(401, "AuthFailure", "AWS was not able to validate the provided access credentials")
		}
		return cloud.Errorf(403, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided.")
	}
	r.account = k.account
	return nil
}

func unknownKey(service string) *cloud.Error {
	switch service {
	case "ec2":
		return cloud.Errorf(401, "AuthFailure", "AWS was not able to validate the provided access credentials")
	case "ssm":
		return cloud.Errorf(400, "UnrecognizedClientException", "The security token included in the request is invalid.")
	}
	return cloud.Errorf(403, "InvalidClientTokenId", "The security token included in the request is invalid.")
}
