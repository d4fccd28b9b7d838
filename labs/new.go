package labs

import (
	"fmt"
	"regexp"
	"strings"

	"meshlab.dev/meshlab/topo"
)

var (
	nameLine    = regexp.MustCompile(`(?m)^name: .*$`)
	outsideLink = regexp.MustCompile(`\[([^\]\n]+)\]\(\.\./[^)\n]*\)`)
)

// New returns the files of a new lab of that name, made from one of the
// catalogue: its file, with the new name; its page, which brings up that file and
// has no links to other folders; a picture of it; and what else the page uses. manyHosts says what the lab
// many-hosts is to be like; the zero value, and any value for another lab,
// changes nothing. The error wraps ErrUnknown when from is not in the
// catalogue; it is a *topo.ParseError when the name is none, and that of
// ManyHosts.Validate when the numbers are out of range.
func New(name, from string, manyHosts ManyHosts) ([]File, error) {
	files, err := Files(from)
	if err != nil {
		return nil, err
	}
	for i := range files {
		f := &files[i]
		switch f.Name {
		case LabFile:
			if from == ManyHostsName && manyHosts != (ManyHosts{}) {
				if f.Text, err = manyHosts.Source(); err != nil {
					return nil, err
				}
			}
			f.Text = nameLine.ReplaceAll(f.Text, []byte("name: "+name))
		case PageFile:
			f.Text = []byte(strings.NewReplacer(
				"$ meshlab up "+from+"\n", "$ meshlab up "+LabFile+"\n",
				"$ meshlab up "+from+" ", "$ meshlab up "+LabFile+" ",
				"Lab "+from+" is ", "Lab "+name+" is ",
			).Replace(outsideLink.ReplaceAllString(string(f.Text), "$1")))
		}
	}
	for _, f := range files {
		if f.Name != LabFile {
			continue
		}
		lab, err := topo.Parse(LabFile, f.Text, topo.Options{})
		if err != nil {
			return nil, fmt.Errorf("make lab %s from %s: %w", name, from, err)
		}
		for i := range files {
			if files[i].Name == PictureFile {
				files[i].Text = topo.SVG(lab)
			}
		}
	}
	return files, nil
}
