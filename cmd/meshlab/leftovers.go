package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"meshlab.dev/meshlab/orchestrate"
	"meshlab.dev/meshlab/orchestrate/consul"
	"meshlab.dev/meshlab/orchestrate/doctor"
	"meshlab.dev/meshlab/orchestrate/supervisor"
	"meshlab.dev/meshlab/scenarios"
)

const fixCommand = "meshlab doctor --fix"

// leftover is something that a crash has left and that is ours for certain:
// its state folder, a lock that nobody holds, its label, or its name says so.
type leftover struct {
	name   string // for people
	detail string
	// remove removes it, and nothing that has come to life since: false then.
	remove func(context.Context) (bool, error)
}

// findLeftovers looks for what crashed labs, builds and measurements have left.
// What cannot be looked at is in the error; the rest is found all the same.
func findLeftovers(ctx context.Context) ([]leftover, error) {
	labs, lerr := leftLabs()
	containers, cerr := leftContainers(ctx)
	builds, berr := leftBuilds()
	files, ferr := leftFiles()
	return slices.Concat(labs, containers, builds, files), errors.Join(lerr, cerr, berr, ferr)
}

// leftContainers finds those of labs whose state folder is gone; those of
// others go with the lab.
func leftContainers(ctx context.Context) ([]leftover, error) {
	labs, err := supervisor.LostContainers(ctx)
	var all []leftover
	for _, l := range labs {
		all = append(all, leftover{"containers of lab " + l.Lab, fmt.Sprintf("%s has gone, and %d containers are left, such as %s", l.State, len(l.Containers), l.Containers[0]),
			func(ctx context.Context) (bool, error) { return supervisor.RemoveLost(ctx, l) }})
	}
	return all, err
}

func leftLabs() ([]leftover, error) {
	labs, err := orchestrate.ListAll()
	var all []leftover
	for _, l := range labs {
		about := ""
		if l.Problem != "" {
			about = " (" + l.Problem + ")"
		}
		switch {
		case l.Orphan:
			all = append(all, leftover{"lab " + l.Name, fmt.Sprintf("its processes live on, below %d, and no verb reaches them%s", l.PID, about),
				func(ctx context.Context) (bool, error) { return true, supervisor.RemoveOrphan(ctx, l) }})
		case l.Condition == orchestrate.Ended:
			all = append(all, leftover{"lab " + l.Name, "it has ended, and " + l.Dir + " is left" + about,
				func(ctx context.Context) (bool, error) {
					return supervisor.RemoveEnded(ctx, orchestrate.State{Dir: l.Dir})
				}})
		}
	}
	return all, err
}

func leftBuilds() ([]leftover, error) {
	dirs, err := consul.StaleBuilds(consul.Options{})
	var all []leftover
	for _, dir := range dirs {
		all = append(all, leftover{"build of Consul", "it was killed, and " + dir + " is left",
			func(context.Context) (bool, error) { return true, consul.RemoveStaleBuilds(consul.Options{}) }})
	}
	return all, err
}

// leftFiles finds half-written results in the folder where bench puts them
// unless it is told otherwise, and half-written calibrations.
func leftFiles() ([]leftover, error) {
	var all []leftover
	var errs []error
	for _, dir := range []string{defaultOut, calibrationDir()} {
		paths, err := scenarios.LeftUnfinished(dir)
		errs = append(errs, err)
		for _, path := range paths {
			all = append(all, leftover{"half-written file", path + ": its writer was killed",
				func(context.Context) (bool, error) { return true, os.Remove(path) }})
		}
	}
	return all, errors.Join(errs...)
}

// checkLeftovers tells what crashes have left, and with fix removes it. It
// returns false when something could not be removed.
func checkLeftovers(ctx context.Context, fix bool) (findings []doctor.Finding, ok bool) {
	const name = "Leftovers"
	all, err := findLeftovers(ctx)
	ok = true
	if err != nil {
		findings = append(findings, doctor.Finding{Name: name, Status: doctor.Warn, Detail: err.Error()})
	}
	if len(all) == 0 && err == nil {
		return []doctor.Finding{{Name: name, Status: doctor.OK, Detail: "no crash has left anything"}}, true
	}
	for _, l := range all {
		f := doctor.Finding{Name: name, Status: doctor.Warn, Detail: l.name + ": " + l.detail, Remedy: fixCommand}
		if fix {
			f.Status, f.Remedy = doctor.OK, ""
			switch removed, err := l.remove(ctx); {
			case err != nil:
				ok = false
				f.Status, f.Detail = doctor.Warn, f.Detail+"; it cannot be removed: "+err.Error()
			case removed:
				f.Detail += ": removed"
			default:
				f.Detail += "; left alone: it has come to life, or has gone"
			}
		}
		findings = append(findings, f)
	}
	return findings, ok
}
