// Package ssm is a narrow client of AWS Systems Manager, API version
// 2014-11-06: it runs one document on one instance and reads what came of it.
// All types are its own.
package ssm

import (
	"context"
	"fmt"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"eslink/shared/apierr"
	"eslink/shared/aws"
)

// codes are those of the API reference.
var codes = aws.Codes{
	"InvocationDoesNotExist":  apierr.NotFound, // also right after SendCommand
	"InvalidInstanceId":       apierr.NotFound,
	"InvalidDocument":         apierr.NotFound,
	"InvalidParameters":       apierr.Fatal,
	"UnsupportedPlatformType": apierr.Fatal,
	"DuplicateInstanceId":     apierr.Fatal,
	"AccessDeniedException":   apierr.Fatal,
	"ThrottlingException":     apierr.Retry,
}

// Client calls Systems Manager in one region.
type Client struct{ api *ssm.Client }

// New returns a client.
func New(a aws.Account, region string) *Client { return &Client{ssm.NewFromConfig(a.SDK(region))} }

// Agent is what the service knows of the agent on an instance.
type Agent struct {
	Online   bool
	Platform string // Linux, Windows, MacOS
	Version  string
}

// Agent returns the agent of an instance; one that has not registered is not
// found.
func (c *Client) Agent(ctx context.Context, instanceID string) (Agent, error) {
	out, err := aws.Call(ctx, codes, c.api.DescribeInstanceInformation, &ssm.DescribeInstanceInformationInput{
		Filters: []types.InstanceInformationStringFilter{{Key: sdk.String("InstanceIds"), Values: []string{instanceID}}}})
	if err != nil {
		return Agent{}, fmt.Errorf("agent of %s: %w", instanceID, err)
	}
	for _, i := range out.InstanceInformationList {
		if aws.String(i.InstanceId) == instanceID {
			return Agent{Online: i.PingStatus == types.PingStatusOnline, Platform: string(i.PlatformType), Version: aws.String(i.AgentVersion)}, nil
		}
	}
	return Agent{}, fmt.Errorf("agent of %s: %w", instanceID, &apierr.Error{Class: apierr.NotFound, Code: "InvalidInstanceId", Message: "the instance has not registered with Systems Manager"})
}

// Document returns the text of a document's default version, in JSON.
func (c *Client) Document(ctx context.Context, name string) (string, error) {
	out, err := aws.Call(ctx, codes, c.api.GetDocument, &ssm.GetDocumentInput{Name: &name, DocumentFormat: types.DocumentFormatJson})
	if err != nil {
		return "", fmt.Errorf("document %s: %w", name, err)
	}
	return aws.String(out.Content), nil
}

// Send runs a document on an instance. The service knows no token: the comment,
// at most 100 characters, is what a repetition finds the command by. within
// bounds the delivery, not the work: 30 seconds at least.
func (c *Client) Send(ctx context.Context, document, instanceID, comment string, parameters map[string]string, within time.Duration) (commandID string, err error) {
	in := &ssm.SendCommandInput{DocumentName: &document, InstanceIds: []string{instanceID}, Comment: &comment,
		TimeoutSeconds: sdk.Int32(int32(within.Seconds())), Parameters: map[string][]string{}}
	for k, v := range parameters {
		in.Parameters[k] = []string{v}
	}
	out, err := aws.Call(ctx, codes, c.api.SendCommand, in)
	if err != nil {
		return "", fmt.Errorf("send command to %s: %w", instanceID, err)
	}
	return aws.String(out.Command.CommandId), nil
}

// Sent returns the ID of the command to an instance with a comment that was
// sent after a time, or an error that is not found.
func (c *Client) Sent(ctx context.Context, instanceID, comment string, after time.Time) (string, error) {
	in := &ssm.ListCommandsInput{InstanceId: &instanceID,
		Filters: []types.CommandFilter{{Key: types.CommandFilterKeyInvokedAfter, Value: sdk.String(after.UTC().Format("2006-01-02T15:04:05Z"))}}}
	for {
		out, err := aws.Call(ctx, codes, c.api.ListCommands, in)
		if err != nil {
			return "", fmt.Errorf("commands of %s: %w", instanceID, err)
		}
		for _, s := range out.Commands {
			if aws.String(s.Comment) == comment {
				return aws.String(s.CommandId), nil
			}
		}
		if in.NextToken = out.NextToken; aws.String(in.NextToken) == "" {
			return "", fmt.Errorf("command %q of %s: %w", comment, instanceID, &apierr.Error{Class: apierr.NotFound, Code: "NoSuchCommand", Message: "it is not listed"})
		}
	}
}

// Invocation is how a command goes on an instance.
type Invocation struct {
	Ended  bool
	Status string // StatusDetails, such as "Execution Timed Out"
	Code   int    // the script's exit code, -1 until it ran
	Output string // at most 24,000 characters of it
}

// Succeeded reports whether the script ran and exited with 0.
func (i Invocation) Succeeded() bool { return i.Status == "Success" }

// Invocation returns how a command goes. Right after Send it may be not found.
func (c *Client) Invocation(ctx context.Context, commandID, instanceID string) (Invocation, error) {
	out, err := aws.Call(ctx, codes, c.api.GetCommandInvocation, &ssm.GetCommandInvocationInput{CommandId: &commandID, InstanceId: &instanceID})
	if err != nil {
		return Invocation{}, fmt.Errorf("command %s on %s: %w", commandID, instanceID, err)
	}
	i := Invocation{Status: aws.String(out.StatusDetails), Code: int(out.ResponseCode), Output: aws.String(out.StandardOutputContent)}
	switch out.Status {
	case types.CommandInvocationStatusSuccess, types.CommandInvocationStatusFailed, types.CommandInvocationStatusTimedOut, types.CommandInvocationStatusCancelled:
		i.Ended = true
	}
	return i, nil
}

// Cancel stops a command that has not ended.
func (c *Client) Cancel(ctx context.Context, commandID, instanceID string) error {
	if _, err := aws.Call(ctx, codes, c.api.CancelCommand, &ssm.CancelCommandInput{CommandId: &commandID, InstanceIds: []string{instanceID}}); err != nil {
		return fmt.Errorf("cancel command %s: %w", commandID, err)
	}
	return nil
}
