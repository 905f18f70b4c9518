package deploy

import (
	"go/version"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func file(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// stages are the images that a Dockerfile's stages start from.
func stages(t *testing.T, path string) (images []string) {
	t.Helper()
	for _, match := range regexp.MustCompile(`(?m)^FROM (?:--platform=\S+ )?(\S+)`).FindAllStringSubmatch(file(t, path), -1) {
		images = append(images, match[1])
	}
	if len(images) != 2 {
		t.Fatalf("the stages of %s start from %q, want one that builds and one that runs", path, images)
	}
	return images
}

// TestImageHoldsTheProgramAlone pins what makes the image small and harmless: its last stage starts from
// nothing, and runs as a user that isn't root.
func TestImageHoldsTheProgramAlone(t *testing.T) {
	text := file(t, "deploy/Dockerfile")
	if images := stages(t, "deploy/Dockerfile"); images[1] != "scratch" {
		t.Fatalf("the last stage starts from %s, want scratch", images[1])
	}
	_, last, _ := strings.Cut(text, "FROM scratch")
	if !regexp.MustCompile(`(?m)^USER [1-9]\d*:[1-9]\d*$`).MatchString(last) {
		t.Error("the image doesn't say, by number, as whom it runs")
	}
	if regexp.MustCompile(`(?m)^RUN `).MatchString(last) {
		t.Error("the last stage runs something, but has no shell")
	}
	// SQLite's temporary files come to lie where the program runs, for want of /tmp.
	for _, want := range []string{"WORKDIR /var/lib/wadi\n", "--chown=65532:65532 /out/data /var/lib/wadi\n", "WADI_DATA_DIR=/var/lib/wadi\n"} {
		if !strings.Contains(last, want) {
			t.Errorf("the last stage lacks %q", want)
		}
	}
	for _, want := range []string{"--platform=$BUILDPLATFORM", "CGO_ENABLED=0", "-trimpath", "TARGETARCH"} {
		if !strings.Contains(text, want) {
			t.Errorf("the Dockerfile lacks %s", want)
		}
	}
}

// TestMinIOsImageRunsWhatComposeAsksOf: its volume's folder belongs to the user that it runs as, who isn't root, and its
// last stage has the shell and the wget that the service's command and health check are for.
func TestMinIOsImageRunsWhatComposeAsksOf(t *testing.T) {
	const path = "deploy/minio.Dockerfile"
	images := stages(t, path)
	if own := stages(t, "deploy/Dockerfile")[0]; images[0] != own {
		t.Errorf("MinIO is built by %s, Wadi by %s: two to fetch", images[0], own)
	}
	if !strings.HasPrefix(images[1], "alpine:") {
		t.Errorf("the last stage starts from %s, want Alpine, which has a shell and wget", images[1])
	}
	_, last, _ := strings.Cut(file(t, path), "FROM "+images[1])
	service := compose(t).Services["minio"]
	for _, want := range []string{
		"--chown=65532:65532 /data " + service.Volumes[0].Target + "\n", "USER 65532:65532\n", "/usr/local/bin/minio\n", "ca-certificates.crt",
	} {
		if !strings.Contains(last, want) {
			t.Errorf("the last stage lacks %q", want)
		}
	}
	if strings.Contains(last, "ENTRYPOINT") || len(service.Entrypoint) > 0 || service.Command[0] != "sh" || service.HealthCheck.Test[1] != "wget" {
		t.Errorf("the service runs %q and asks by %q, which is not what the image has", service.Command, service.HealthCheck.Test)
	}
}

// TestImageIsBuiltByAGoThatCan: the image's toolchain fetches no other one.
func TestImageIsBuiltByAGoThatCan(t *testing.T) {
	image := regexp.MustCompile(`golang:(\d+\.\d+\.\d+)`).FindStringSubmatch(file(t, "deploy/Dockerfile"))
	module := regexp.MustCompile(`(?m)^go (\S+)$`).FindStringSubmatch(file(t, "go.mod"))
	if image == nil || module == nil {
		t.Fatalf("no version of Go in the Dockerfile (%q) or in go.mod (%q)", image, module)
	}
	if version.Compare("go"+image[1], "go"+module[1]) < 0 {
		t.Errorf("the Dockerfile builds with Go %s, go.mod wants %s", image[1], module[1])
	}
}

// TestDockerIgnoreSparesTheSources: an ignored folder that the program needs fails only where there is Docker.
func TestDockerIgnoreSparesTheSources(t *testing.T) {
	var ignored []string
	for line := range strings.Lines(file(t, ".dockerignore")) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			ignored = append(ignored, line)
		}
	}
	cmd := exec.Command("go", "list", "-deps", "-f",
		`{{with .Module}}{{if .Main}}{{range $.GoFiles}}{{$.Dir}}/{{.}}{{"\n"}}{{end}}{{range $.EmbedFiles}}{{$.Dir}}/{{.}}{{"\n"}}{{end}}{{end}}{{end}}`, "./cmd/wadi")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	folder, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	sources := []string{"go.mod", "go.sum"}
	for path := range strings.FieldsSeq(string(out)) {
		relative, err := filepath.Rel(folder, path)
		if err != nil {
			t.Fatal(err)
		}
		sources = append(sources, filepath.ToSlash(relative))
	}
	if len(sources) < 100 {
		t.Fatalf("the program is made of %d files only: %q", len(sources), sources)
	}
	for _, source := range sources {
		for _, pattern := range ignored {
			if ignores(t, pattern, source) {
				t.Errorf(".dockerignore: %s takes away %s", pattern, source)
			}
		}
	}
	for _, gone := range []string{".git/HEAD", "test/e2e/doc.go", "README.md", "agent/agent_test.go", "cmd/wadi/testdata/scripts/help.txtar"} {
		if !slices.ContainsFunc(ignored, func(pattern string) bool { return ignores(t, pattern, gone) }) {
			t.Errorf(".dockerignore lets %s in, on which the program doesn't depend", gone)
		}
	}
}

// ignores tells whether a pattern of .dockerignore matches the path or a folder that it is in.
func ignores(t *testing.T, pattern, path string) bool {
	t.Helper()
	parts := strings.Split(path, "/")
	name, anywhere := strings.CutPrefix(pattern, "**/")
	for i := range parts {
		candidate := strings.Join(parts[:i+1], "/")
		if anywhere {
			candidate = parts[i]
		}
		matched, err := filepath.Match(name, candidate)
		if err != nil {
			t.Fatal(err)
		}
		if matched {
			return true
		}
	}
	return false
}
