// Package sts opens AWS accounts with the AWS Security Token Service, API
// version 2011-06-15: GetCallerIdentity and AssumeRole.
package sts

import (
	"context"
	"fmt"
	"sync"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"eslink/shared/apierr"
	"eslink/shared/aws"
)

// codes are those of the service's API reference.
var codes = aws.Codes{
	"ExpiredToken":                apierr.Fatal,
	"RegionDisabledException":     apierr.Fatal,
	"IDPCommunicationError":       apierr.Retry,
	"InvalidClientTokenId":        apierr.Fatal,
	"SignatureDoesNotMatch":       apierr.Fatal,
	"MalformedPolicyDocument":     apierr.Fatal,
	"PackedPolicyTooLarge":        apierr.Fatal,
	"AccessDenied":                apierr.Fatal,
	"UnrecognizedClientException": apierr.Fatal,
}

const (
	// region is where the service is called: its answers hold in all of them.
	region = "us-east-1"
	// sessionName is what AWS's own log shows of an assumed role.
	sessionName = "eslink"
	// sessionSeconds is how long an assumed role is asked for: the shortest
	// maximum that a role can have is an hour.
	sessionSeconds = 3600
	// margin is how long before their end credentials are not used any more: an
	// invocation lives at most four minutes.
	margin = 5 * time.Minute
)

// Sessions opens accounts, and keeps the credentials of assumed roles until
// shortly before they end.
type Sessions struct {
	config aws.Config

	mu    sync.Mutex
	roles map[string]sdk.Credentials // by the key's fingerprint
}

// New returns sessions without any yet.
func New(c aws.Config) *Sessions {
	return &Sessions{config: c, roles: map[string]sdk.Credentials{}}
}

// Open returns the account that a key opens, through its role if it names one.
func (s *Sessions) Open(ctx context.Context, k aws.Key) (aws.Account, error) {
	account := aws.KeyAccount(s.config, k)
	if k.RoleARN == "" {
		return account, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id := k.Fingerprint()
	if c, ok := s.roles[id]; ok && s.config.Now().Before(c.Expires.Add(-margin)) {
		account.Credentials = c
		return account, nil
	}
	in := &sts.AssumeRoleInput{RoleArn: &k.RoleARN, RoleSessionName: sdk.String(sessionName), DurationSeconds: sdk.Int32(sessionSeconds)}
	if k.ExternalID != "" {
		in.ExternalId = &k.ExternalID
	}
	out, err := aws.Call(ctx, codes, sts.NewFromConfig(account.SDK(region)).AssumeRole, in)
	if err != nil {
		return aws.Account{}, fmt.Errorf("assume role %s: %w", k.RoleARN, err)
	}
	c := out.Credentials
	if c == nil || c.AccessKeyId == nil || c.SecretAccessKey == nil || c.Expiration == nil {
		return aws.Account{}, fmt.Errorf("assume role %s: the reply has no credentials", k.RoleARN)
	}
	account.Credentials = sdk.Credentials{AccessKeyID: *c.AccessKeyId, SecretAccessKey: *c.SecretAccessKey, SessionToken: aws.String(c.SessionToken),
		CanExpire: true, Expires: *c.Expiration, Source: "eslink"}
	s.roles[id] = account.Credentials
	return account, nil
}

// Caller returns the ID of the account that a's credentials belong to: 12
// digits.
func Caller(ctx context.Context, a aws.Account) (string, error) {
	out, err := aws.Call(ctx, codes, sts.NewFromConfig(a.SDK(region)).GetCallerIdentity, &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", fmt.Errorf("ask whose credentials these are: %w", err)
	}
	return aws.String(out.Account), nil
}
