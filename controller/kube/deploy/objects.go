package deploy

import (
	"crypto/sha256"
	"fmt"
	"net"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// settings are values with what follows from them, as the objects take it. Of
// a chart they are expressions for that.
type settings struct {
	Values
	config   string // file of the agent
	checksum string // of config: another makes new pods
	metrics  int32  // TCP port
	slices   bool   // the agent reads EndpointSlices
	bridge   string
	cni      string // configuration of the attachment, JSON
}

func (v Values) settings() (settings, error) {
	s := settings{Values: v}
	var err error
	if s.config, err = configText(v.Config); err != nil {
		return s, err
	}
	s.checksum = fmt.Sprintf("%x", sha256.Sum256([]byte(s.config)))
	listen, _ := v.Config["metrics"].(string)
	_, text, err := net.SplitHostPort(listen)
	if err != nil {
		return s, fmt.Errorf("values: /config/metrics: %w", err)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return s, fmt.Errorf("values: /config/metrics: %q is no port: write a number, such as :9464", text)
	}
	s.metrics = int32(port)
	s.slices = v.Config["consul"] == nil
	if bridges, _ := v.Config["bridges"].([]any); len(bridges) > 0 {
		s.bridge, _ = bridges[0].(string)
	}
	if s.cni, err = s.attachmentConfig(); err != nil {
		return s, fmt.Errorf("write the network attachment: %w", err)
	}
	return s, nil
}

// Objects returns the objects, each with its kind, in the order in which they
// are to be made.
func (v Values) Objects() ([]runtime.Object, error) {
	s, err := v.settings()
	if err != nil {
		return nil, err
	}
	return s.objects(), nil
}

func (s settings) objects() []runtime.Object {
	all := []runtime.Object{s.account(), s.role(), s.roleBinding(), s.configMap(), s.daemonSet()}
	if s.Attachment.Name != "" {
		all = append(all, s.attachment())
	}
	return all
}

// Labels that Kubernetes recommends (its documentation, "Recommended Labels").
const (
	nameLabel     = "app.kubernetes.io/name"
	instanceLabel = "app.kubernetes.io/instance"
)

func (s settings) labels() map[string]string {
	return map[string]string{nameLabel: DefaultName, instanceLabel: s.Name}
}

func (s settings) meta(namespaced bool) metav1.ObjectMeta {
	m := metav1.ObjectMeta{Name: s.Name, Labels: s.labels()}
	if namespaced {
		m.Namespace = s.Namespace
	}
	return m
}
