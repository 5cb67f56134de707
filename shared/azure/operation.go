package azure

import (
	"context"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"

	"eslink/shared/apierr"
)

// An Operation is a long-running operation's resume token, by which another
// invocation goes on with it. It holds signed addresses: it is kept in a row of its
// own, never in facts, and does not print itself.
type Operation string

// String hides the addresses from logs.
func (o Operation) String() string {
	if o == "" {
		return "no operation"
	}
	return "an operation"
}

// GoString does the same for %#v.
func (o Operation) GoString() string { return o.String() }

// Begin turns what a Begin… function returned into an operation; "" when it ended
// with the reply.
func Begin[T any](product, name string, p *runtime.Poller[T], err error) (Operation, error) {
	if err != nil {
		return "", Wrap(product, name, err)
	}
	if p.Done() {
		return "", nil
	}
	token, err := p.ResumeToken()
	if err != nil {
		return "", Wrap(product, name, err)
	}
	return Operation(token), nil
}

// Poll asks once how an operation is. An error of one that has failed is
// classified like a reply; one that Azure no longer knows has ended somehow, and the
// resource says how.
func Poll[T any](ctx context.Context, product, name string, p *runtime.Poller[T], err error) (ended bool, _ error) {
	if err != nil {
		return false, Wrap(product, name, err)
	}
	if !p.Done() {
		_, err = p.Poll(ctx)
	}
	if err == nil && p.Done() {
		_, err = p.Result(ctx)
	}
	err = Wrap(product, name, err)
	if apierr.IsNotFound(err) {
		return true, nil
	}
	return p.Done(), err
}
