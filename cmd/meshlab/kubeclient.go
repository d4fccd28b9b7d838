package main

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/oauth2"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/transport"

	"meshlab.dev/meshlab/controller"
)

// Requests besides watches that one agent may send in the long run, and at
// once: enough to tell a node full of pods what is wrong with them.
const (
	kubeRequestsPerSec = 20
	kubeBurst          = 40
)

// kubeClient is a client of the cluster that the configuration names. Without
// a file it is the one that this process runs in.
func kubeClient(k controller.Kubernetes) (kubernetes.Interface, error) {
	var cfg *rest.Config
	var err error
	if k.Kubeconfig == "" && k.Context == "" {
		if cfg, err = rest.InClusterConfig(); err != nil {
			return nil, fmt.Errorf("find the cluster: %w; outside of a cluster, give --kubeconfig", err)
		}
	} else {
		if cfg, err = readKubeconfig(k); err != nil {
			return nil, err
		}
	}
	renewToken(k, cfg)
	cfg.UserAgent = "meshlab-agent/" + version()
	cfg.ContentType, cfg.AcceptContentTypes = "application/vnd.kubernetes.protobuf", "application/vnd.kubernetes.protobuf,application/json"
	cfg.QPS, cfg.Burst = kubeRequestsPerSec, kubeBurst
	cfg.WarningHandler = rest.NoWarnings{}
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("make a client for Kubernetes: %w", err)
	}
	return client, nil
}

func readKubeconfig(k controller.Kubernetes) (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = k.Kubeconfig
	cfg, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: k.Context}).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	return cfg, nil
}

// tokenLife is after which a token that stands in a kubeconfig is read again,
// as client-go does with those that have files of their own. A token that the
// API server refuses is read again at once.
const tokenLife = time.Minute

// renewToken has a token that stands in a kubeconfig read again: it may end
// while the agent works. Tokens that have files of their own, those of service
// accounts among them, and plugins are client-go's business.
func renewToken(k controller.Kubernetes, cfg *rest.Config) {
	if cfg.BearerToken == "" || cfg.BearerTokenFile != "" {
		return
	}
	cfg.BearerToken = ""
	cfg.Wrap(transport.ResettableTokenSourceWrapTransport(transport.NewCachedTokenSource(kubeconfigToken{k})))
}

// kubeconfigToken is the token that a kubeconfig has now.
type kubeconfigToken struct{ of controller.Kubernetes }

func (t kubeconfigToken) Token() (*oauth2.Token, error) {
	cfg, err := readKubeconfig(t.of)
	if err == nil && cfg.BearerToken == "" {
		err = errors.New("read kubeconfig: it has no token any more")
	}
	if err != nil {
		return nil, err
	}
	return &oauth2.Token{AccessToken: cfg.BearerToken, Expiry: time.Now().Add(tokenLife)}, nil
}
