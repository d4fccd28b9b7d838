package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"meshlab.dev/meshlab/orchestrate/doctor"
	"meshlab.dev/meshlab/orchestrate/image"
)

func newImage() *cobra.Command {
	c := &cobra.Command{
		Use:   "image",
		Short: "Our image for clusters: push it to a registry, or save it as a file",
		Long: `Make the image that a cluster runs: this program as mesh agent, as the services
of labs and as load, with the libraries that it is linked to and this machine's
Postgres. No Docker is needed. The same files make the same image: its tag, if you
give none, is the beginning of its digest.

Logins are those of docker (docker login), and for Azure's registries also that of
az, or a service principal in ARM_CLIENT_ID and ARM_CLIENT_SECRET.`,
		Example: `  meshlab image push registry.example.org/me/meshlab
  meshlab image push mylab.azurecr.io/meshlab:latest
  meshlab image save meshlab.tar && kind load image-archive meshlab.tar`,
	}
	c.AddCommand(newImagePush(), newImageSave())
	return c
}

// withoutPostgres is the flag for machines without it.
func withoutPostgres(c *cobra.Command) *bool {
	return c.Flags().Bool("without-postgres", false, "leave Postgres out: the image is smaller, and cannot run hashicups/product-db")
}

func newImagePush() *cobra.Command {
	var plain bool
	c := &cobra.Command{
		Use:   "push REGISTRY/NAME[:TAG]",
		Short: "Push our image to a registry",
		Long: `Make the image and push it. Nothing is sent when the registry has it under this
name already, nor layers that it has. On standard output is the image's name,
which 'meshlab bench --kube' takes as --image.`,
		Example: `  meshlab image push registry.example.org/me/meshlab
  meshlab bench hashicups --kube my-context --image $(meshlab image push registry.example.org/me/meshlab)
  meshlab image push kind-registry:5000/meshlab --plain-http`,
		Args: cobra.ExactArgs(1),
	}
	without := withoutPostgres(c)
	c.Flags().BoolVar(&plain, "plain-http", false, "the registry has no TLS; registries of this machine are asked without it anyway")
	c.RunE = func(c *cobra.Command, args []string) error {
		p := newProgress(os.Stderr)
		defer p.stop()
		i, err := makeImage(p, *without)
		if err != nil {
			return err
		}
		pushed, err := pushImage(c.Context(), p, i, args[0], plain)
		if errors.Is(err, image.ErrReference) {
			return usageError{err}
		}
		if err != nil {
			return err
		}
		p.stop()
		if wantJSON(c) {
			return json.NewEncoder(c.OutOrStdout()).Encode(pushed)
		}
		fmt.Fprintln(c.OutOrStdout(), pushed.Reference)
		return nil
	}
	return c
}

func newImageSave() *cobra.Command {
	var name string
	c := &cobra.Command{
		Use:   "save FILE",
		Short: "Save our image as a file that engines load",
		Long: `Make the image and write it into a file, as docker load, ctr images import, kind
load image-archive and minikube image load take it. On standard output is the name
that it gets there.`,
		Example: `  meshlab image save meshlab.tar && docker load --input meshlab.tar
  meshlab image save meshlab.tar --name registry.local/meshlab:lab && sudo ctr --namespace k8s.io images import meshlab.tar`,
		Args: cobra.ExactArgs(1),
	}
	without := withoutPostgres(c)
	c.Flags().StringVar(&name, "name", "meshlab", "the image's name; without a tag it gets the beginning of its digest")
	c.RunE = func(c *cobra.Command, args []string) error {
		p := newProgress(os.Stderr)
		defer p.stop()
		i, err := makeImage(p, *without)
		if err != nil {
			return err
		}
		ref, err := i.Save(name, args[0])
		if errors.Is(err, image.ErrReference) {
			return usageError{err}
		}
		if err != nil {
			return err
		}
		p.stop()
		if wantJSON(c) {
			return json.NewEncoder(c.OutOrStdout()).Encode(map[string]any{"reference": ref, "digest": i.Hash(), "file": args[0]})
		}
		fmt.Fprintln(c.OutOrStdout(), ref)
		return nil
	}
	return c
}

// makeImage makes the image of this program.
func makeImage(p *progress, withoutPostgres bool) (*image.Image, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cfg := image.Config{Program: self, Version: version(), Revision: revision()}
	if !withoutPostgres {
		if cfg.PostgresBin, err = doctor.PostgresBin(); err != nil {
			return nil, fmt.Errorf("make the image: %w; `meshlab doctor` names the package, or --without-postgres", err)
		}
	}
	p.start("image")
	begin := time.Now()
	i, err := image.Build(cfg)
	if err != nil {
		return nil, fmt.Errorf("make the image: %w", err)
	}
	p.finish("image", fmt.Sprintf("%s, linux/%s, %d MB", i.Hash()[:19], i.Architecture, i.Bytes/1e6), time.Since(begin))
	return i, nil
}

// pushImage brings an image into a registry.
func pushImage(ctx context.Context, p *progress, i *image.Image, ref string, plain bool) (image.Pushed, error) {
	p.start("push")
	begin := time.Now()
	pushed, err := i.Push(ctx, ref, image.Registry{
		Login: registryLogins(), PlainHTTP: plain, UserAgent: "meshlab/" + version(),
		Progress: func(sent, bytes int64) { p.report(fmt.Sprintf("%d of %d MB", sent/1e6, bytes/1e6)) },
	})
	if err != nil {
		return pushed, err
	}
	detail := pushed.Reference
	if pushed.Found {
		detail += ", which is there already"
	}
	p.finish("push", detail, time.Since(begin))
	return pushed, nil
}

// revision is that of the source this program was built from; empty when it is
// not known.
func revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return ""
}
