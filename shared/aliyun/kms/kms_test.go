package kms_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"eslink/localtest/fakes/cloud"
	fake "eslink/localtest/fakes/kms"
	"eslink/shared/aliyun/kms"
	"eslink/shared/apierr"
	"eslink/shared/steps/stepstest"
)

func TestLogin(t *testing.T) {
	t.Parallel()
	w := stepstest.New(t, 1)
	secrets := fake.New(w.Account)
	w.Deps.Aliyun.Transport = cloud.Transport(func(string) http.Handler { return secrets })
	c := kms.New(w.Deps.Aliyun)
	const canary = "canary-5f0c"

	secrets.Put("eslink/good", `{"username":"reader","password":"`+canary+`","note":"x"}`)
	l, err := c.Login(w.Context(), "eslink/good")
	require.NoError(t, err)
	require.Equal(t, kms.Login{Username: "reader", Password: canary, Version: l.Version}, l)
	secrets.Put("eslink/good", `{"username":"reader","password":"`+canary+`-2"}`)
	renewed, err := c.Login(w.Context(), "eslink/good")
	require.NoError(t, err)
	require.NotEqual(t, l.Version, renewed.Version)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		require.NotContains(t, fmt.Sprintf(verb, l), canary)
	}

	for _, value := range []string{canary, `{"username":"` + canary + `"}`, `{"password":"` + canary + `"}`, `["` + canary + `"]`, `{"username":1,"password":"` + canary + `"}`} {
		secrets.Put("eslink/bad", value)
		_, err := c.Login(w.Context(), "eslink/bad")
		require.ErrorContains(t, err, "eslink/bad")
		require.NotContains(t, err.Error(), canary)
		require.Equal(t, apierr.Fatal, apierr.ClassOf(err))
	}
	_, err = c.Login(w.Context(), "eslink/none")
	require.True(t, apierr.IsNotFound(err))
}
