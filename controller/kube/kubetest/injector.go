package kubetest

import (
	"crypto/tls"
	"crypto/x509/pkix"
	"encoding/json"
	"net"
	"net/http"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	registrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The annotations of consul-k8s that the stand-in heeds.
const (
	injectAnnotation    = "consul.hashicorp.com/connect-inject"
	serviceAnnotation   = "consul.hashicorp.com/connect-service"
	portAnnotation      = "consul.hashicorp.com/connect-service-port"
	upstreamsAnnotation = "consul.hashicorp.com/connect-service-upstreams"
)

// proxyImage is the image of the sidecars that the stand-in injects.
const proxyImage = "kubetest/" + proxyProgram + ":1"

// Consul is an agent that sidecars use, as files of the machine.
type Consul struct {
	Program string // path of consul
	Socket  string // of the agent's HTTP API
}

// StandInInjector is in the place of consul-k8s: a webhook that the API server
// asks for each new pod. A pod with the annotation connect-inject gets a
// container that registers it at a real agent of Consul and runs that one's
// built-in proxy. There are no access lists, and no transparent proxy.
func (c *Cluster) StandInInjector(consul Consul) {
	c.t.Helper()
	a, err := newAuthority()
	if err != nil {
		c.t.Fatal(err)
	}
	own, err := a.sign(pkix.Name{CommonName: "injector"}, net.IPv4(127, 0, 0, 1))
	if err != nil {
		c.t.Fatal(err)
	}
	certificate, err := tls.X509KeyPair(own.certificate, own.key)
	if err != nil {
		c.t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}})
	if err != nil {
		c.t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review admissionv1.AdmissionReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil || review.Request == nil {
			http.Error(w, "no review", http.StatusBadRequest)
			return
		}
		review.Response = inject(consul, review.Request)
		review.Request = nil
		_ = json.NewEncoder(w).Encode(review) // of an API server that has gone
	})}
	go func() { _ = server.Serve(listener) }() // it ends with Close
	c.t.Cleanup(func() { _ = server.Close() })

	const name = "consul-connect-injector"
	url, none, fail := "https://"+listener.Addr().String()+"/mutate", registrationv1.SideEffectClassNone, registrationv1.Fail
	_, err = c.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Create(c.t.Context(), &registrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Webhooks: []registrationv1.MutatingWebhook{{
			Name: name + ".consul.hashicorp.com", ClientConfig: registrationv1.WebhookClientConfig{URL: &url, CABundle: a.pem},
			Rules: []registrationv1.RuleWithOperations{{
				Operations: []registrationv1.OperationType{registrationv1.Create},
				Rule:       registrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
			}},
			SideEffects: &none, FailurePolicy: &fail, AdmissionReviewVersions: []string{"v1"},
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		c.t.Fatalf("register the injector: %v", err)
	}
}

// inject answers for one pod.
func inject(consul Consul, request *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
	answer := &admissionv1.AdmissionResponse{UID: request.UID, Allowed: true}
	refuse := func(err error) *admissionv1.AdmissionResponse {
		return &admissionv1.AdmissionResponse{UID: request.UID, Result: &metav1.Status{Message: err.Error()}}
	}
	var pod corev1.Pod
	if err := json.Unmarshal(request.Object.Raw, &pod); err != nil {
		return refuse(err)
	}
	if pod.Annotations[injectAnnotation] != "true" {
		return answer
	}
	container := corev1.Container{Name: "consul-dataplane", Image: proxyImage}
	for key, value := range map[string]string{
		"CONSUL": consul.Program, "CONSUL_SOCKET": consul.Socket,
		"SERVICE": pod.Annotations[serviceAnnotation], "PORT": pod.Annotations[portAnnotation],
		"UPSTREAMS": strings.ReplaceAll(pod.Annotations[upstreamsAnnotation], " ", ""),
	} {
		container.Env = append(container.Env, corev1.EnvVar{Name: key, Value: value})
	}
	patch, err := json.Marshal([]map[string]any{{"op": "add", "path": "/spec/containers/-", "value": container}})
	if err != nil {
		return refuse(err)
	}
	kind := admissionv1.PatchTypeJSONPatch
	answer.Patch, answer.PatchType = patch, &kind
	return answer
}
