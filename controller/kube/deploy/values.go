package deploy

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"meshlab.dev/meshlab/controller"
)

// DefaultNamespace is where the objects go that are in a namespace, but for
// the network attachment.
const DefaultNamespace = "kube-system"

// DefaultName is the name of all objects.
const DefaultName = "meshlab-agent"

// Values are what the objects are made of. chart/values.yaml explains each and
// has the defaults.
type Values struct {
	// Name and Namespace are the release's in a chart, so they are no values
	// there.
	Name      string `json:"-"`
	Namespace string `json:"-"`

	Image             string                        `json:"image"`
	ImagePullPolicy   corev1.PullPolicy             `json:"imagePullPolicy"`
	ImagePullSecrets  []corev1.LocalObjectReference `json:"imagePullSecrets"`
	Config            map[string]any                `json:"config"` // controller.FileConfig, as it is written
	Secret            string                        `json:"secret"`
	Env               []corev1.EnvVar               `json:"env"`
	OpenVSwitch       OpenVSwitch                   `json:"openvswitch"`
	NodeSelector      map[string]string             `json:"nodeSelector"`
	Tolerations       []corev1.Toleration           `json:"tolerations"`
	PriorityClassName string                        `json:"priorityClassName"`
	Resources         corev1.ResourceRequirements   `json:"resources"`
	Attachment        Attachment                    `json:"attachment"`
}

// OpenVSwitch says where a node has its Open vSwitch, and whose it is.
type OpenVSwitch struct {
	RunDir string `json:"runDir"` // of the sockets, on the node
	User   int64  `json:"user"`   // UID that owns them
}

// Attachment is the network attachment that joins pods to the bridge; without
// a name there is none.
type Attachment struct {
	Name      string         `json:"name"`
	Namespace string         `json:"namespace"`
	CNI       map[string]any `json:"cni"` // configuration of ovs-cni, without type and bridge
}

//go:embed chart/values.yaml
var defaults []byte

//go:embed chart/values.schema.json
var schema []byte

// Parse reads values as they are written in YAML, with the defaults where they
// say nothing: maps are merged and lists replaced, as Helm does, and null takes
// a default away. edit, if not nil, changes them last. The error tells all that
// is wrong with them, with the path of each.
func Parse(text []byte, edit func(values map[string]any)) (Values, error) {
	all := map[string]any{}
	if err := yaml.Unmarshal(defaults, &all); err != nil {
		return Values{}, fmt.Errorf("read the defaults: %w", err)
	}
	given := map[string]any{}
	if err := yaml.Unmarshal(text, &given); err != nil {
		return Values{}, fmt.Errorf("read values: %w", err)
	}
	merge(all, given)
	if edit != nil {
		edit(all)
	}
	v := Values{Name: DefaultName, Namespace: DefaultNamespace}
	if err := validate(all); err != nil {
		return Values{}, err
	}
	again, err := json.Marshal(all)
	if err != nil {
		return Values{}, fmt.Errorf("read values: %w", err)
	}
	strict := json.NewDecoder(bytes.NewReader(again))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&v); err != nil {
		return Values{}, fmt.Errorf("read values: %w", err)
	}
	return v, v.validate()
}

// ParseFile is Parse of a file; an empty path is that of no file.
func ParseFile(path string, edit func(values map[string]any)) (Values, error) {
	if path == "" {
		return Parse(nil, edit)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return Values{}, fmt.Errorf("read values: %w", err)
	}
	v, err := Parse(text, edit)
	if err != nil {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return v, err
}

func merge(into, from map[string]any) {
	for key, value := range from {
		old, isMap := into[key].(map[string]any)
		add, alsoMap := value.(map[string]any)
		switch {
		case value == nil:
			delete(into, key)
		case isMap && alsoMap:
			merge(old, add)
		default:
			into[key] = value
		}
	}
}

// validate checks values by the schema, which is what Helm checks them by.
func validate(values map[string]any) error {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		return fmt.Errorf("read the schema of values: %w", err)
	}
	c := jsonschema.NewCompiler()
	const name = "values.schema.json"
	if err := c.AddResource(name, document); err != nil {
		return fmt.Errorf("read the schema of values: %w", err)
	}
	compiled, err := c.Compile(name)
	if err != nil {
		return fmt.Errorf("read the schema of values: %w", err)
	}
	err = compiled.Validate(values)
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return err
	}
	_, lines, _ := strings.Cut(invalid.Error(), "\n") // the first names the schema
	var all []error
	for line := range strings.SplitSeq(lines, "\n") {
		line = strings.Replace(line, "false schema", "not in this file: the pod says it", 1)
		all = append(all, errors.New("values: "+strings.TrimLeft(line, " -")))
	}
	return errors.Join(all...)
}

// What must be given. The chart says the same words.
const (
	needImage = "image is missing: the image of meshlab that the nodes can pull, such as registry.example/meshlab:1.0"
	needVIP   = "config.vip is missing: the virtual address of all upstreams in the pods' network, such as 10.1.1.254"
)

// validate checks what a schema cannot, the agent's configuration by the
// agent's own rules.
func (v Values) validate() error {
	var errs []error
	if v.Image == "" {
		errs = append(errs, errors.New(needImage))
	}
	if v.Config["vip"] == "" {
		return errors.Join(append(errs, errors.New(needVIP))...)
	}
	text, err := configText(v.Config)
	if err == nil {
		_, err = controller.ParseAgentConfig("config", []byte(text), nil)
	}
	return errors.Join(append(errs, err)...)
}

// configText is the agent's configuration file.
func configText(config map[string]any) (string, error) {
	text, err := yaml.Marshal(config)
	if err != nil {
		return "", fmt.Errorf("write the agent's configuration: %w", err)
	}
	return string(text), nil
}
