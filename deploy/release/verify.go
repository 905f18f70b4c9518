package main

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
)

// maxProgramBytes is what people are promised; today's program has nearly nine tenths of it.
const maxProgramBytes = 40 << 20

// verify returns an error unless the program is what the release promises: small, static, and what it says it is.
func (r release) verify(ctx context.Context, t target, program string) error {
	info, err := os.Stat(program)
	if err != nil {
		return err
	}
	if info.Size() > maxProgramBytes {
		return fmt.Errorf("the program has %d bytes, more than %d: find out what was added to it", info.Size(), maxProgramBytes)
	}
	if t.system == "linux" {
		if err := static(program); err != nil {
			return err
		}
	}
	if t.system == runtime.GOOS && t.processor == runtime.GOARCH {
		return r.says(ctx, program)
	}
	return nil
}

// says returns an error unless the program, which must be one for this machine, says that it is this release.
func (r release) says(ctx context.Context, program string) error {
	out, err := exec.CommandContext(ctx, program, "version").CombinedOutput()
	if err != nil {
		return fmt.Errorf("wadi version: %w\n%s", err, out)
	}
	for _, want := range []string{r.version, r.commit[:min(len(r.commit), 12)]} {
		if !strings.Contains(string(out), want) {
			return fmt.Errorf("wadi version says %q, without %s: do the linker's options still name its variables?", strings.TrimSpace(string(out)), want)
		}
	}
	return nil
}

// static returns an error if the program needs a loader or a library of the system that it runs on.
func static(program string) (err error) {
	image, err := elf.Open(program)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, image.Close()) }()
	for _, segment := range image.Progs {
		if segment.Type == elf.PT_INTERP || segment.Type == elf.PT_DYNAMIC {
			return fmt.Errorf("the program is not static: it has a segment %v", segment.Type)
		}
	}
	return nil
}
