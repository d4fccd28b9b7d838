package imports

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"regexp"
	"strings"

	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

// load lets compose-go read the tree. Nothing but the file itself and .env
// beside it is read.
func (c *compose) load(root *tree) (project *types.Project, err error) {
	defer func() { // it reads what anybody wrote
		if r := recover(); r != nil {
			project, err = nil, c.errorf(at{c.file, 0}, "the compose library gave up: %v", r)
		}
	}()
	config, _ := root.plainValue().(map[string]any)
	delete(config, "version") // obsolete, says the compose specification
	if _, has := config["include"]; has {
		c.notef(at{c.file, root.lineOf("include")}, "include is not followed: import the other file by itself")
		delete(config, "include")
	}
	services, _ := config["services"].(map[string]any)
	for _, k := range c.services.keys {
		s, _ := services[k.name].(map[string]any)
		extends := k.value.get("extends")
		if extends.get("file") != nil {
			c.notef(at{c.file, k.value.lineOf("extends")}, "extends of %s is not followed into another file", k.name)
			delete(s, "extends")
		}
	}
	env, err := c.dotEnv()
	if err != nil {
		return nil, err
	}
	missing := map[string]bool{}
	details := types.ConfigDetails{
		WorkingDir:  "/",
		ConfigFiles: []types.ConfigFile{{Filename: c.file, Config: config}},
		Environment: env,
	}
	project, err = loader.LoadWithContext(context.Background(), details, func(o *loader.Options) {
		o.SetProjectName("imported", true)
		o.SkipInclude, o.SkipResolveEnvironment, o.SkipResolveLabels = true, true, true
		o.ResolvePaths, o.SkipNormalization = false, true
		o.Profiles = []string{"*"}
		o.Interpolate.LookupValue = func(name string) (string, bool) {
			v, ok := env[name]
			if !ok {
				missing[name] = true
			}
			return v, ok
		}
	})
	if err != nil {
		return nil, c.composeError(err)
	}
	for _, name := range sorted(missing) {
		c.notef(at{c.file, 0}, "the variable %s is set nowhere: its default, or nothing, is put in its place", name)
	}
	return project, nil
}

// dotEnv reads the file .env, from which compose takes variables.
func (c *compose) dotEnv() (map[string]string, error) {
	name := path.Join(path.Dir(c.file), ".env")
	src, err := c.read(name, maxStartup)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return map[string]string{}, nil
	case err != nil:
		return nil, err
	}
	env, err := dotenv.UnmarshalBytesWithLookup(src, func(string) (string, bool) { return "", false })
	if err != nil {
		return nil, c.errorf(at{name, 0}, "%v", err)
	}
	return env, nil
}

// inService finds the service that an error of compose-go is about.
var inService = regexp.MustCompile(`services[.]([A-Za-z0-9_-]+)|service "([^"]+)"`)

func (c *compose) composeError(err error) error {
	text, where := firstLine(err.Error()), at{c.file, 0}
	if m := inService.FindStringSubmatch(text); m != nil {
		if name := m[1] + m[2]; c.services.get(name) != nil {
			where.line = c.services.lineOf(name)
		}
	}
	text = strings.TrimPrefix(text, "validating "+c.file+": ")
	return c.errorf(where, "%s", text)
}
