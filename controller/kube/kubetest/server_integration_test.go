//go:build integration

package kubetest_test

import (
	"context"
	"os"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"meshlab.dev/meshlab/controller/kube/kubetest"
)

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }

const reader = `
apiVersion: v1
kind: ServiceAccount
metadata: { name: reader }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: reader }
rules: [{ apiGroups: [""], resources: [pods], verbs: [get, list, watch] }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: reader }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reader }
subjects: [{ kind: ServiceAccount, namespace: default, name: reader }]
`

// TestServer asks a server as an administrator and as a service account.
func TestServer(t *testing.T) {
	s := kubetest.Start(t)
	version, err := s.Client.Discovery().ServerVersion()
	if err != nil || version.GitVersion != "v1.34.3" {
		t.Errorf("the version is %v, error %v", version, err)
	}
	s.ApplyText(reader)
	s.ApplyText(reader) // once more changes nothing
	c, err := clientcmd.BuildConfigFromFlags("", kubetest.Kubeconfig(t, s.ServiceAccount("default", "reader")))
	if err != nil {
		t.Fatal(err)
	}
	asReader, err := kubernetes.NewForConfig(c)
	if err != nil {
		t.Fatal(err)
	}
	may := func() (pods, secrets error) {
		_, pods = asReader.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{})
		_, secrets = asReader.CoreV1().Secrets("").List(t.Context(), metav1.ListOptions{})
		return pods, secrets
	}
	kubetest.Eventually(t, "the role to count", func(context.Context) error {
		pods, _ := may()
		return pods
	})
	if _, secrets := may(); !apierrors.IsForbidden(secrets) {
		t.Errorf("reading secrets, which the role does not allow: %v", secrets)
	}

	s.Stop()
	if pods, _ := may(); pods == nil {
		t.Error("a server that is stopped answers")
	}
	s.Resume()
	if pods, _ := may(); pods != nil {
		t.Errorf("after the server came back: %v", pods)
	}
	if _, err := s.Client.CoreV1().ServiceAccounts("default").Get(t.Context(), "reader", metav1.GetOptions{}); err != nil {
		t.Errorf("what was applied has not stayed: %v", err)
	}
}
