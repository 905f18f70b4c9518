package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/wadi-log/wadi/test/deploy"
	"github.com/wadi-log/wadi/test/harness"
)

// TestComposeFileRuns starts what docker-compose.yml describes, with its values, as plain processes: an agent gets the
// file's environment and nothing else, HAProxy the file's configuration. Then it does what
// the file promises: clients outside see one broker, clients inside all three, and any agent may go.
func TestComposeFileRuns(t *testing.T) {
	project, err := deploy.Compose(t.Context(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &composed{t: t, project: project, addresses: map[string]string{}, agents: map[string]*harness.Program{}}
	c.startPostgres()
	c.startMinIO()
	names := []string{"agent-1", "agent-2", "agent-3"}
	for _, name := range names {
		c.startAgent(name)
	}
	for _, name := range names {
		c.awaitReady(name)
	}
	c.startHAProxy()

	outside := c.published("9092")
	leads(t, outside, outside)
	var inside []string
	for _, name := range names {
		inside = append(inside, c.address(name, "29092"))
	}
	for _, seed := range inside {
		leads(t, seed, slices.Clone(inside)...)
	}
	c.checkRecords(outside, inside)

	// The last one that serves has nobody to lead its clients to, and doesn't wait.
	for _, name := range []string{"agent-1", "agent-3"} {
		grace := time.Duration(*project.Services[name].StopGracePeriod)
		start := time.Now()
		if code := c.agents[name].Stop(); code != 0 || time.Since(start) > grace {
			t.Errorf("%s ended with code %d after %v; the file gives it %v", name, code, time.Since(start), grace)
		}
	}
}

// checkRecords produces through the proxy with kcat and with franz-go, kills an agent meanwhile, and reads everything
// from outside and from inside.
func (c *composed) checkRecords(outside string, inside []string) {
	t := c.t
	const topic, lines, records = "orders", 1000, 2000
	createTopic(t, outside, topic, 6)

	var input bytes.Buffer
	for n := range lines {
		fmt.Fprintf(&input, "kcat-%d\n", n)
	}
	want := map[string]int{}
	for line := range strings.FieldsSeq(input.String()) {
		want[line] = 1
	}
	path := filepath.Join(t.TempDir(), "input")
	if err := os.WriteFile(path, input.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, kcat(t), "-b", outside, "-P", "-t", topic, "-X", "enable.idempotence=true", "-l", path)

	producer := client(t, kgo.SeedBrokers(outside), kgo.DefaultProduceTopic(topic))
	for n := range records {
		if n == records/2 {
			c.agents["agent-2"].Kill()
		}
		value := fmt.Sprint("franz-", n)
		if err := producer.ProduceSync(t.Context(), kgo.StringRecord(value)).FirstErr(); err != nil {
			t.Fatalf("record %d: %v", n, err)
		}
		want[value] = 1
	}

	for name, bootstrap := range map[string]string{"outside": outside, "inside": inside[0] + "," + inside[2]} {
		got := map[string]int{}
		for line := range strings.FieldsSeq(string(run(t, kcat(t), "-b", bootstrap, "-C", "-t", topic, "-e", "-q"))) {
			got[line]++
		}
		if !maps.Equal(got, want) {
			t.Errorf("kcat reads %d different records from %s, want each of %d once", len(got), name, len(want))
		}
		if all := readAll(t, strings.Split(bootstrap, ",")[0], topic); len(all) != len(want) {
			t.Errorf("franz-go reads %d records from %s, want %d", len(all), name, len(want))
		}
	}
}

// leads waits until clients that come to the seed are led to just these brokers: agents hear of each other by beats.
func leads(t *testing.T, seed string, want ...string) {
	t.Helper()
	admin := kadm.NewClient(client(t, kgo.SeedBrokers(seed)))
	slices.Sort(want)
	harness.Eventually(t, time.Minute, func() error {
		brokers, err := admin.ListBrokers(t.Context())
		if err != nil {
			return err
		}
		var got []string
		for _, b := range brokers {
			got = append(got, fmt.Sprintf("%s:%d", b.Host, b.Port))
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			return fmt.Errorf("clients of %s are led to %q, want %q", seed, got, want)
		}
		return nil
	})
}

// composed is the project as processes. Each port of a container is one of 127.0.0.1.
type composed struct {
	t         *testing.T
	project   *types.Project
	addresses map[string]string // by service and port of the container, as in minio:9000
	agents    map[string]*harness.Program
}

// address is where a port of a service is in this test.
func (c *composed) address(service, port string) string {
	if _, ok := c.project.Services[service]; !ok {
		c.t.Fatalf("the file has no service %q", service)
	}
	key := service + ":" + port
	if c.addresses[key] == "" {
		c.addresses[key] = harness.FreeAddress(c.t)
	}
	return c.addresses[key]
}

// published is where a port that a service publishes on this machine is in this test.
func (c *composed) published(port string) string {
	for name, service := range c.project.Services {
		for _, p := range service.Ports {
			if p.Published == port {
				return c.address(name, fmt.Sprint(p.Target))
			}
		}
	}
	c.t.Fatalf("nothing publishes port %s", port)
	return ""
}

var (
	remote = regexp.MustCompile(`\b([a-z][a-z0-9-]*):(\d+)\b`)
	local  = regexp.MustCompile(`(^|//):(\d+)\b`)
)

// translate puts this test's addresses into a value of the service's environment: for the names of services, for
// localhost, whose ports are those that are published, and for the ports that the service itself listens on.
func (c *composed) translate(service, value string) string {
	value = remote.ReplaceAllStringFunc(value, func(address string) string {
		name, port, _ := strings.Cut(address, ":")
		if name == "localhost" {
			return c.published(port)
		}
		return c.address(name, port)
	})
	return local.ReplaceAllStringFunc(value, func(address string) string {
		match := local.FindStringSubmatch(address)
		return match[1] + c.address(service, match[2])
	})
}

// environment is the service's in this test, and nothing of the developer's.
func (c *composed) environment(service string) []string {
	var env []string
	for name, value := range c.project.Services[service].Environment {
		if value == nil {
			c.t.Fatalf("%s takes %s from whoever starts it", service, name)
		}
		env = append(env, name+"="+c.translate(service, *value))
	}
	return env
}

// variable is one of the service's, as the file has it.
func (c *composed) variable(service, name string) string {
	c.t.Helper()
	value := c.project.Services[service].Environment[name]
	if value == nil {
		c.t.Fatalf("%s has no %s", service, name)
	}
	return *value
}

// startPostgres makes what the image makes of its variables: a user and a database.
func (c *composed) startPostgres() {
	ctx := c.t.Context()
	server, err := url.Parse(harness.StartPostgres(c.t).URL())
	if err != nil {
		c.t.Fatal(err)
	}
	conn, err := pgx.Connect(ctx, server.String())
	if err != nil {
		c.t.Fatal(err)
	}
	user := pgx.Identifier{c.variable("postgres", "POSTGRES_USER")}.Sanitize()
	database := pgx.Identifier{c.variable("postgres", "POSTGRES_DB")}.Sanitize()
	password := strings.ReplaceAll(c.variable("postgres", "POSTGRES_PASSWORD"), "'", "''")
	verb := "CREATE"
	if c.variable("postgres", "POSTGRES_USER") == server.User.Username() {
		verb = "ALTER" // the harness's own
	}
	for _, statement := range []string{
		verb + " ROLE " + user + " LOGIN PASSWORD '" + password + "'",
		"CREATE DATABASE " + database + " OWNER " + user,
	} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			c.t.Fatal(err)
		}
	}
	if err := conn.Close(ctx); err != nil {
		c.t.Fatal(err)
	}
	c.addresses["postgres:5432"] = server.Host
}

// startMinIO runs the service's command with its environment, on a folder and an address of this test in place of the
// container's, and waits as its health check does.
func (c *composed) startMinIO() {
	service, folder := c.project.Services["minio"], c.t.TempDir()
	if len(service.Volumes) != 1 || len(service.Command) != 3 {
		c.t.Fatalf("MinIO mounts %v and runs %q", service.Volumes, service.Command)
	}
	program, address := harness.Tool(c.t, "minio"), c.address("minio", "9000")
	script := strings.ReplaceAll(service.Command[2], service.Volumes[0].Target, filepath.Join(folder, "data"))
	script += " --address " + address + " --certs-dir " + filepath.Join(folder, "certs")
	cmd := exec.Command(service.Command[0], service.Command[1], script)
	cmd.Env = append(c.environment("minio"), "PATH="+filepath.Dir(program)+":"+os.Getenv("PATH"), "HOME="+folder, "MINIO_BROWSER=off", "MINIO_UPDATE=off")
	c.awaitHealth("minio", harness.StartProgram(c.t, "MinIO", cmd))
}

// startAgent runs the image's program as the image does.
func (c *composed) startAgent(name string) {
	service := c.project.Services[name]
	args := []string{"agent"} // the image's CMD
	if len(service.Command) > 0 {
		args = service.Command
	}
	cmd := exec.Command(harness.Binary(c.t), args...)
	cmd.Dir, cmd.Env = c.t.TempDir(), c.environment(name)
	c.t.Cleanup(func() {
		// The container's disk can't be written on.
		if left, err := os.ReadDir(cmd.Dir); err != nil || len(left) > 0 {
			c.t.Errorf("%s wrote %v into its folder (%v)", name, left, err)
		}
	})
	c.agents[name] = harness.StartProgram(c.t, name, cmd)
}

// awaitReady runs the service's health check until it is well, as Compose does before it starts what depends on it.
func (c *composed) awaitReady(name string) {
	test := c.project.Services[name].HealthCheck.Test
	if len(test) < 3 || test[0] != "CMD" || test[1] != "wadi" {
		c.t.Fatalf("the health check of %s is %q", name, test)
	}
	harness.Eventually(c.t, time.Minute, func() error {
		c.agents[name].Check()
		cmd := exec.Command(harness.Binary(c.t), test[2:]...)
		cmd.Env = c.environment(name)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
}

// startHAProxy runs HAProxy with the file that is mounted into its container.
func (c *composed) startHAProxy() {
	mounts := c.project.Services["haproxy"].Volumes
	if len(mounts) != 1 || filepath.Base(mounts[0].Source) != "haproxy.cfg" {
		c.t.Fatalf("HAProxy mounts %v", mounts)
	}
	config, err := deploy.HAProxy(func(name, port string) (string, error) { return c.address(name, port), nil })
	if err != nil {
		c.t.Fatal(err)
	}
	path := filepath.Join(c.t.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		c.t.Fatal(err)
	}
	proxy := harness.StartProgram(c.t, "HAProxy", exec.Command(harness.Tool(c.t, "haproxy"), "-db", "-f", path))
	c.awaitHealth("haproxy", proxy)
}

// awaitHealth asks what the health check of a service asks with wget, until it is well.
func (c *composed) awaitHealth(service string, program *harness.Program) {
	test := c.project.Services[service].HealthCheck.Test
	if len(test) < 3 || test[0] != "CMD" || test[1] != "wget" {
		c.t.Fatalf("the health check of %s is %q", service, test)
	}
	health, err := url.Parse(test[len(test)-1])
	if err != nil || health.Hostname() != "127.0.0.1" {
		c.t.Fatalf("the health check of %s asks %s, not the container itself (%v)", service, health, err)
	}
	health.Host = c.address(service, health.Port())
	harness.Eventually(c.t, time.Minute, func() error {
		program.Check()
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
		response, err := client.Get(health.String())
		if err != nil {
			return err
		}
		if response.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s answers %s", health, response.Status)
		}
		return errors.Join(err, response.Body.Close())
	})
}
