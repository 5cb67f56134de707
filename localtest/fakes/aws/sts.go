package aws

import (
	"time"

	"eslink/localtest/fakes/cloud"
)

func assumeRole(f *Fake, r *request) (any, error) {
	role, ok := f.roles[r.params["RoleArn"]]
	if !ok || role.externalID != r.params["ExternalId"] {
		return nil, cloud.Errorf(403, "AccessDenied", "User: arn:aws:iam::%s:user/eslink is not authorized to perform: sts:AssumeRole on resource: %s", r.account, r.params["RoleArn"])
	}
	seconds := atoi(first(r.params["DurationSeconds"], "3600"))
	k := key{secret: f.world.NewID("", 40), session: f.world.NewID("", 120), account: role.account, expires: r.now.Add(time.Duration(seconds) * time.Second)}
	id := "ASIA" + upper(f.world.NewID("", 16))
	f.keys[id] = k
	f.world.Hide(k.secret, k.session)
	return struct {
		Credentials struct {
			AccessKeyID     string `xml:"AccessKeyId"`
			SecretAccessKey string
			SessionToken    string
			Expiration      string
		}
	}{struct {
		AccessKeyID     string `xml:"AccessKeyId"`
		SecretAccessKey string
		SessionToken    string
		Expiration      string
	}{id, k.secret, k.session, k.expires.UTC().Format(time.RFC3339)}}, nil
}

func callerIdentity(f *Fake, r *request) (any, error) {
	return struct {
		Arn, UserID string `xml:",omitempty"`
		Account     string
	}{Arn: "arn:aws:iam::" + r.account + ":user/eslink", Account: r.account}, nil
}
