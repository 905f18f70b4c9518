package manifests

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wadi-log/wadi/test/harness"
)

// TestRenderedPodsServe starts what the pods of the chart would start, with what the kubelet would put in, and
// connects to them as the Services would. Only the addresses to listen on are loopback's.
func TestRenderedPodsServe(t *testing.T) {
	bucket, database := harness.MinIO(t), harness.Postgres(t)
	var programs []*harness.Program
	for i, zone := range []string{"a", "b"} {
		kafka, external, peer, web := harness.FreePort(t), harness.FreePort(t), harness.FreePort(t), harness.FreePort(t)
		all, _ := render(t, "--values", values(t, fmt.Sprintf(`
image: {repository: wadi, tag: test}
metadata: {url: %q}
objects: {url: %q, accessKey: %q, secretKey: %q}
listeners:
  PLAINTEXT: {port: %d, mode: direct}
  EXTERNAL: {port: %d, advertise: 'localhost:%d', type: LoadBalancer, zone: c}
peer: {port: %d}
http: {port: %d}
drain: {delaySeconds: 1}
migrateOnUpgrade: true
config:
  flush-interval: 1ms
  kafka-config: {num.partitions: 3}
`, database, bucket.MinioURL(), bucket.AccessKey, bucket.SecretKey, kafka, external, external, peer, web)))
		pod := newPod(t, all, map[string]string{
			"status.podIP": "127.0.0.1", "metadata.name": "wadi-" + strconv.Itoa(i), "metadata.labels['topology.kubernetes.io/zone']": zone,
		})
		_, agent := all.agent(t)
		program := harness.StartProgram(t, "agent", pod.command(t, agent))
		programs = append(programs, program)
		ready := "http://127.0.0.1:" + strconv.Itoa(agent.port(agent.ReadinessProbe.HTTPGet.Port)) + agent.ReadinessProbe.HTTPGet.Path
		harness.Eventually(t, time.Minute, func() error {
			program.Check()
			return get(t.Context(), ready, nil)
		})
		work(t, "127.0.0.1:"+strconv.Itoa(kafka))
		work(t, "127.0.0.1:"+strconv.Itoa(external))

		var agents []struct {
			Name, Zone, Peer string
			Self             bool
			Listeners        []struct{ Name, Host string }
		}
		harness.Eventually(t, time.Minute, func() error {
			if err := get(t.Context(), "http://127.0.0.1:"+strconv.Itoa(web)+"/v1/agents", &agents); err != nil {
				return err
			}
			if len(agents) != i+1 {
				return fmt.Errorf("agent %d knows of %d agents", i, len(agents))
			}
			return nil
		})
		for _, a := range agents {
			if !a.Self {
				continue
			}
			hosts := map[string]string{}
			for _, l := range a.Listeners {
				hosts[l.Name] = l.Host
			}
			if a.Name != "wadi-"+strconv.Itoa(i) || a.Zone != zone || a.Peer != "127.0.0.1:"+strconv.Itoa(peer) ||
				hosts["PLAINTEXT"] != "127.0.0.1" || hosts["EXTERNAL"] != "localhost" {
				t.Errorf("the agent is registered as %+v", a)
			}
		}

		var migrate workload
		all.one(t, "Job", &migrate)
		if out, err := pod.command(t, migrate.Template.Spec.Containers[0]).CombinedOutput(); err != nil || !strings.Contains(string(out), "already") {
			t.Errorf("wadi migrate: %v\n%s", err, out)
		}
	}
	for _, program := range programs {
		if code := program.Stop(); code != 0 {
			t.Errorf("SIGTERM ends an agent with code %d", code)
		}
	}
}

// wildcard finds the addresses without a host in a list of listeners.
var wildcard = regexp.MustCompile(`(^|/|,):(\d)`)

// pod is what the kubelet knows when it starts a container.
type pod struct {
	fields  map[string]string
	secrets map[string]map[string]string
	config  string
}

func newPod(t *testing.T, all objects, fields map[string]string) pod {
	t.Helper()
	p := pod{fields: fields, secrets: map[string]map[string]string{}, config: t.TempDir()}
	for _, secret := range all.kind("Secret") {
		p.secrets[secret.Metadata.Name] = secret.StringData
	}
	for _, config := range all.kind("ConfigMap") {
		for name, content := range config.Data {
			if err := os.WriteFile(filepath.Join(p.config, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return p
}

// command is the container's, with the image's entrypoint.
func (p pod) command(t *testing.T, c container) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), harness.Binary(t), c.Args...)
	cmd.Dir = t.TempDir()
	set := map[string]string{}
	for _, v := range c.Env {
		value := v.Value
		switch {
		case v.ValueFrom.FieldRef.FieldPath != "":
			field, ok := p.fields[v.ValueFrom.FieldRef.FieldPath]
			if !ok {
				t.Fatalf("%s is from field %s", v.Name, v.ValueFrom.FieldRef.FieldPath)
			}
			value = field
		case v.ValueFrom.SecretKeyRef.Name != "":
			secret, ok := p.secrets[v.ValueFrom.SecretKeyRef.Name][v.ValueFrom.SecretKeyRef.Key]
			if !ok {
				t.Fatalf("%s is from key %+v, which no Secret has", v.Name, v.ValueFrom.SecretKeyRef)
			}
			value = secret
		}
		for name, earlier := range set {
			value = strings.ReplaceAll(value, "$("+name+")", earlier)
		}
		if strings.HasSuffix(v.Name, "_LISTEN") {
			value = wildcard.ReplaceAllString(value, "${1}127.0.0.1:$2")
		}
		if v.Name == "WADI_CONFIG" {
			value = strings.Replace(value, "/etc/wadi", p.config, 1)
		}
		set[v.Name] = value
	}
	for name, value := range set {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	return cmd
}

// get asks for a URL and decodes the answer, unless into is nil.
func get(ctx context.Context, url string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(response.Body).Decode(into)
}
