package supervisor

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"meshlab.dev/meshlab/controller"
	"meshlab.dev/meshlab/controller/certificate"
	"meshlab.dev/meshlab/controller/pipeline"
	"meshlab.dev/meshlab/orchestrate/ovs"
	"meshlab.dev/meshlab/topo"
)

// openFlowPort is the TCP port of OpenFlow (IANA's registry of service names
// and port numbers).
const openFlowPort = 6653

// certificateLifetime is how long a lab's certificates hold: longer than
// labs are kept.
const certificateLifetime = 90 * 24 * time.Hour

// tlsDir holds what the controller of a lab proves itself by.
const tlsDir = stateDir + "/tls"

// controllerTLS are the controller's files, and the authority of the lab.
func controllerTLS() controller.TLS {
	return controller.TLS{CA: tlsDir + "/ca.pem", Certificate: tlsDir + "/certificate.pem", Key: tlsDir + "/key.pem"}
}

// certify makes an authority for the lab, whose key is gone when it returns,
// and the certificates of the controller and of each switch, in files that
// only the lab's own user may read. It returns those of the switches.
func certify(lab string, all []*vswitch) ([]ovs.TLSFiles, error) {
	now, own := time.Now(), controllerTLS()
	authority, err := certificate.NewAuthority("meshlab "+lab, now, now.Add(certificateLifetime))
	if err != nil {
		return nil, err
	}
	if err := writeSecret(own.CA, authority.PEM()); err != nil {
		return nil, err
	}
	issue := func(name, certificate, key string) error {
		c, k, err := authority.Issue(name, now)
		if err != nil {
			return err
		}
		if err := writeSecret(certificate, c); err != nil {
			return err
		}
		return writeSecret(key, k)
	}
	if err := issue("controller", own.Certificate, own.Key); err != nil {
		return nil, err
	}
	files := make([]ovs.TLSFiles, len(all))
	for i, v := range all {
		files[i] = ovs.TLSFiles{
			CA: own.CA, Certificate: filepath.Join(v.Run, "certificate.pem"), Key: filepath.Join(v.Run, "key.pem"),
		}
		if err := issue(v.Name, files[i].Certificate, files[i].Key); err != nil {
			return nil, err
		}
	}
	return files, nil
}

func writeSecret(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("create folder of certificates: %w", err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return fmt.Errorf("write certificate or key: %w", err)
	}
	return nil
}

// reach tells the controller how to reach the switches: by their management
// sockets or, where they are isolated, by TLS over the management network.
func (r *raising) reach(cfg *controller.FileConfig, datapaths []pipeline.Datapath) error {
	if r.lab.Switches != topo.SwitchesIsolated {
		for _, d := range datapaths {
			cfg.Datapaths = append(cfg.Datapaths, controller.Datapath{Datapath: d, Address: ovs.Shared().ManagementSocket(d.Name)})
		}
		return nil
	}
	plan, err := planMachines(r.lab)
	if err != nil {
		return err
	}
	at := map[string]string{}
	for _, s := range plan.management.Stations {
		at[s.NetNS] = net.JoinHostPort(s.Addr.Addr().String(), strconv.Itoa(openFlowPort))
	}
	cfg.TLS = controllerTLS()
	for _, d := range datapaths {
		cfg.Datapaths = append(cfg.Datapaths, controller.Datapath{Datapath: d, Address: "tls:" + at[d.Name], RunDir: ovs.Isolated(d.Name).Run})
	}
	return nil
}
