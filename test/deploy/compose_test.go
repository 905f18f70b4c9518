package deploy

import (
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
)

// compose returns the file as `docker compose up` reads it, with all profiles.
func compose(t *testing.T, environ ...string) *types.Project {
	t.Helper()
	project, err := Compose(t.Context(), []string{"*"}, environ)
	if err != nil {
		t.Fatal(err)
	}
	return project
}

// agents are the services that run Wadi, by name.
func agents(t *testing.T, project *types.Project) map[string]types.ServiceConfig {
	t.Helper()
	found := map[string]types.ServiceConfig{}
	for name, service := range project.Services {
		if service.Image == "wadi:compose" {
			found[name] = service
		}
	}
	if len(found) != 3 {
		t.Fatalf("%d services run Wadi, want three agents", len(found))
	}
	return found
}

// TestComposeBuildsEachImageOnce: services that build the same image do so at the same time, and the second one may find its
// name taken ("already exists"). No registry is to be asked for what is built here.
func TestComposeBuildsEachImageOnce(t *testing.T) {
	project := compose(t)
	builders := map[string][]string{}
	for name, service := range project.Services {
		if service.Build != nil {
			builders[service.Image] = append(builders[service.Image], name)
			if _, err := os.Stat(filepath.Join(service.Build.Context, service.Build.Dockerfile)); err != nil {
				t.Errorf("%s is built from what is not there: %v", name, err)
			}
		}
	}
	if want := map[string][]string{"wadi:compose": {"agent-1"}, "wadi-minio:compose": {"minio"}}; !maps.EqualFunc(builders, want, slices.Equal) {
		t.Errorf("images are built by %q, want %q", builders, want)
	}
	for name, service := range project.Services {
		if built := builders[service.Image] != nil; built != (service.PullPolicy == types.PullPolicyNever) {
			t.Errorf("%s runs %s, built here: %t, and pulls it by %q", name, service.Image, built, service.PullPolicy)
		}
	}
}

// TestComposeWatchesWhatRuns: a service without a health check looks well whatever it does.
func TestComposeWatchesWhatRuns(t *testing.T) {
	for name, service := range compose(t).Services {
		if service.HealthCheck == nil || len(service.HealthCheck.Test) < 2 {
			t.Errorf("%s has no health check", name)
		}
	}
}

func TestComposeStartsWhatWadiNeedsAndToolsWhenAsked(t *testing.T) {
	needed := []string{"agent-1", "agent-2", "agent-3", "haproxy", "minio", "postgres"}
	for _, test := range []struct {
		profiles, want []string
	}{
		{nil, needed},
		{[]string{"kafka-ui"}, append(slices.Clone(needed), "kafka-ui")},
		{[]string{"kafdrop"}, append(slices.Clone(needed), "kafdrop")},
	} {
		project, err := Compose(t.Context(), test.profiles, nil)
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(test.want)
		if got := slices.Sorted(maps.Keys(project.Services)); !slices.Equal(got, test.want) {
			t.Errorf("profiles %q start %q, want %q", test.profiles, got, test.want)
		}
	}
}

// TestComposeWaitsForWhatIsReady: what others wait for says when it is ready, and what holds data holds it in a volume.
func TestComposeWaitsForWhatIsReady(t *testing.T) {
	project := compose(t)
	for name, service := range project.Services {
		for needed, how := range service.DependsOn {
			other := project.Services[needed]
			switch how.Condition {
			case types.ServiceConditionHealthy:
				if other.HealthCheck == nil || len(other.HealthCheck.Test) < 2 {
					t.Errorf("%s waits until %s is healthy, which has no health check", name, needed)
				}
			default:
				t.Errorf("%s waits for %s to be %s", name, needed, how.Condition)
			}
		}
		if service.Restart != "unless-stopped" {
			t.Errorf("%s is not started again after a crash", name)
		}
	}
	for name, folder := range map[string]string{"postgres": "/var/lib/postgresql/data", "minio": "/data"} {
		mounts := project.Services[name].Volumes
		if len(mounts) != 1 || mounts[0].Type != types.VolumeTypeVolume || mounts[0].Target != folder {
			t.Errorf("%s mounts %+v, want a volume at %s", name, mounts, folder)
		}
	}
	for name, agent := range agents(t, project) {
		if len(agent.Volumes) != 0 || !agent.ReadOnly {
			t.Errorf("%s has a disk to write on, which an agent needs not", name)
		}
		// Else it takes what the machine has, as if it were alone.
		if agent.MemLimit == 0 {
			t.Errorf("%s has no limit of memory to fit itself to", name)
		}
		// --drain-timeout and what comes before it.
		if grace := agent.StopGracePeriod; grace == nil || time.Duration(*grace) < 40*time.Second {
			t.Errorf("%s is given %v to drain", name, grace)
		}
	}
}

// TestComposePublishesOnThisMachineOnly: Wadi has no passwords yet, and Docker's ports pass by the firewall.
func TestComposePublishesOnThisMachineOnly(t *testing.T) {
	taken := map[string]string{}
	for name, service := range compose(t).Services {
		for _, port := range service.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s publishes port %s on %q", name, port.Published, port.HostIP)
			}
			if other := taken[port.Published]; other != "" {
				t.Errorf("%s and %s publish the same port %s", name, other, port.Published)
			}
			taken[port.Published] = name
		}
	}
}

// pinned images are of one version: of three numbers, or Postgres' two.
var pinned = regexp.MustCompile(`^(postgres:\d+\.\d+(-alpine)?|[a-z0-9./-]+:v?\d+\.\d+\.\d+(-alpine)?)$`)

func TestImagesArePinned(t *testing.T) {
	for name, service := range compose(t).Services {
		if service.PullPolicy != types.PullPolicyNever && !pinned.MatchString(service.Image) {
			t.Errorf("%s runs %s, which may be another one tomorrow", name, service.Image)
		}
	}
	for _, path := range []string{"deploy/Dockerfile", "deploy/minio.Dockerfile"} {
		for _, image := range stages(t, path) {
			if image != "scratch" && !pinned.MatchString(image) {
				t.Errorf("%s starts from %s, which may be another one tomorrow", path, image)
			}
		}
	}
	for _, image := range []string{"postgres", "postgres:latest", "postgres:17", "golang:1.26-alpine", "alpine:3.22"} {
		if pinned.MatchString(image) {
			t.Errorf("%s counts as pinned", image)
		}
	}
}

// TestComposeRunsTheMinIOThatIsTested: the version of its module that make setup builds, which readers of the Pi's
// guide build, too.
func TestComposeRunsTheMinIOThatIsTested(t *testing.T) {
	tested := regexp.MustCompile(`(?m)^minio_version=(v\S+)$`).FindStringSubmatch(file(t, "test/setup/setup.sh"))
	if tested == nil {
		t.Fatal("setup.sh pins no MinIO")
	}
	built := regexp.MustCompile(`(?m)^ARG MINIO_VERSION=(v\S+)$`).FindStringSubmatch(file(t, "deploy/minio.Dockerfile"))
	if len(built) < 2 || built[1] != tested[1] {
		t.Errorf("the compose file runs MinIO %q, tests run %s", built, tested[1])
	}
	if guide := "github.com/minio/minio@" + tested[1] + "\n"; !strings.Contains(file(t, "deploy/raspberry-pi.md"), guide) {
		t.Errorf("raspberry-pi.md builds a MinIO that is not %s", tested[1])
	}
}

// TestComposeCredentialsAgree: what agents sign in with is what the stores were told, by default and when it is
// changed, and their bucket is the folder that MinIO's command makes in its volume.
func TestComposeCredentialsAgree(t *testing.T) {
	for _, environ := range [][]string{nil, {"POSTGRES_PASSWORD=changed-for-postgres", "MINIO_PASSWORD=changed-for-minio"}} {
		project := compose(t, environ...)
		database := project.Services["postgres"].Environment
		minio := project.Services["minio"]
		store := minio.Environment
		bucket := regexp.MustCompile(`^mkdir -p (/\S+)/([^/\s]+) && exec minio server (/\S+)$`).FindStringSubmatch(minio.Command[len(minio.Command)-1])
		if len(bucket) < 4 || bucket[1] != minio.Volumes[0].Target || bucket[3] != bucket[1] {
			t.Fatalf("MinIO's command is %q, which doesn't make a bucket in %s and serve it", minio.Command, minio.Volumes[0].Target)
		}
		if environ != nil && (*database["POSTGRES_PASSWORD"] != "changed-for-postgres" || *store["MINIO_ROOT_PASSWORD"] != "changed-for-minio") {
			t.Error("passwords can't be changed")
		}
		for name, agent := range agents(t, project) {
			metadata := parse(t, *agent.Environment["WADI_METADATA"])
			password, _ := metadata.User.Password()
			if metadata.Hostname() != "postgres" || metadata.User.Username() != *database["POSTGRES_USER"] ||
				password != *database["POSTGRES_PASSWORD"] || metadata.Path != "/"+*database["POSTGRES_DB"] {
				t.Errorf("%s connects to %s, which is not what Postgres was told", name, metadata.Redacted())
			}
			objects := parse(t, *agent.Environment["WADI_OBJECTS"])
			if objects.Scheme != "minio" || objects.Host != "minio:9000" || objects.Path != "/"+bucket[2] {
				t.Errorf("%s keeps objects in %s, the bucket of minio:9000 is %s", name, objects, bucket[2])
			}
			if *agent.Environment["WADI_OBJECTS_ACCESS_KEY"] != *store["MINIO_ROOT_USER"] ||
				*agent.Environment["WADI_OBJECTS_SECRET_KEY"] != *store["MINIO_ROOT_PASSWORD"] {
				t.Errorf("the keys of %s are not MinIO's", name)
			}
		}
	}
}

func parse(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// TestProxyLeadsToEveryAgent: a fourth agent that HAProxy doesn't know would only look as if it helped.
func TestProxyLeadsToEveryAgent(t *testing.T) {
	project := compose(t)
	config, err := read("haproxy.cfg")
	if err != nil {
		t.Fatal(err)
	}
	var servers []string
	for _, match := range haproxyServer.FindAllStringSubmatch(config, -1) {
		if match[1] != match[2] {
			t.Errorf("HAProxy calls %s %s", match[2], match[1])
		}
		servers = append(servers, match[2])
	}
	names := slices.Sorted(maps.Keys(agents(t, project)))
	if !slices.Equal(servers, names) {
		t.Errorf("HAProxy leads to %q, the agents are %q", servers, names)
	}
	config, err = read("nginx.conf")
	if err != nil {
		t.Fatal(err)
	}
	servers = nil
	for _, match := range nginxServer.FindAllStringSubmatch(config, -1) {
		servers = append(servers, match[1])
	}
	if !slices.Equal(servers, names) {
		t.Errorf("nginx leads to %q, HAProxy to %q", servers, names)
	}
}
