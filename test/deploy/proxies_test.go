package deploy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wadi-log/wadi/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// threeAgents are stand-ins with the names in the files.
func threeAgents(t *testing.T) []*standIn {
	t.Helper()
	return []*standIn{newStandIn(t, "agent-1"), newStandIn(t, "agent-2"), newStandIn(t, "agent-3")}
}

// write puts a configuration into a file.
func write(t *testing.T, name, config string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// check runs a program that says whether it would take a configuration.
func check(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	for _, complaint := range []string{"WARNING", "[warn]", "[ALERT]"} {
		if strings.Contains(string(out), complaint) {
			t.Errorf("%s:\n%s", strings.Join(cmd.Args, " "), out)
		}
	}
}

// startHAProxy starts HAProxy with deploy/haproxy.cfg, checking often and with little patience,
// and returns where clients connect and where its status page is.
func startHAProxy(t *testing.T, agents []*standIn) (kafka, status string) {
	t.Helper()
	program := harness.Tool(t, "haproxy")
	kafka, status = harness.FreeAddress(t), harness.FreeAddress(t)
	config, err := HAProxy(addresses("haproxy", map[string]string{"9092": kafka, "8404": status}, agents...))
	if err != nil {
		t.Fatal(err)
	}
	check(t, exec.Command(program, "-c", "-f", write(t, "haproxy.cfg", config)))
	hurry := strings.NewReplacer("inter 1s", "inter 100ms", "timeout check 4s", "timeout check 2s")
	harness.StartProgram(t, "HAProxy", exec.Command(program, "-db", "-f", write(t, "haproxy.cfg", hurry.Replace(config))))
	harness.Eventually(t, time.Minute, func() error { return get("http://" + status + "/healthz") })
	return kafka, status
}

// get wants 200 from the URL.
func get(url string) error {
	_, err := fetch(url)
	return err
}

func fetch(url string) (string, error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	response, err := client.Get(url)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s answers %s", url, response.Status)
	}
	return string(body), nil
}

// serverIs waits until HAProxy thinks so of the agent ("UP", "NOLB", "DOWN").
func serverIs(t *testing.T, status, agent, want string) {
	t.Helper()
	harness.Eventually(t, time.Minute, func() error {
		page, err := fetch("http://" + status + "/;csv")
		if err != nil {
			return err
		}
		for line := range strings.Lines(page) {
			if fields := strings.Split(line, ","); len(fields) > 17 && fields[0] == "agents" && fields[1] == agent {
				if !strings.HasPrefix(fields[17], want) {
					return fmt.Errorf("%s is %s, want %s", agent, fields[17], want)
				}
				return nil
			}
		}
		return fmt.Errorf("no %s in the statistics:\n%s", agent, page)
	})
}

// TestHAProxyKeepsConnectionsOfAgentsThatDrain tells apart what an agent's health can mean: one that says that it
// is not ready gets no new connections and keeps those it has, one that says nothing loses them.
func TestHAProxyKeepsConnectionsOfAgentsThatDrain(t *testing.T) {
	agents := threeAgents(t)
	kafka, status := startHAProxy(t, agents)
	for _, a := range agents {
		serverIs(t, status, a.name, "UP")
	}
	held := map[string]*connection{}
	for range agents {
		c := mustConnect(t, kafka)
		held[c.agent] = c
	}
	if len(held) != 3 {
		t.Fatalf("three connections lead to %d agents", len(held))
	}

	agents[0].answers(http.StatusServiceUnavailable)
	serverIs(t, status, "agent-1", "NOLB")
	if err := held["agent-1"].works(); err != nil {
		t.Errorf("the connection to an agent that drains: %v", err)
	}
	for range 6 {
		if c := mustConnect(t, kafka); c.agent == "agent-1" {
			t.Error("a new connection leads to an agent that drains")
		}
	}

	agents[1].answers(0)
	serverIs(t, status, "agent-2", "DOWN")
	if err := held["agent-2"].works(); err == nil {
		t.Error("the connection to an agent that hangs is still open")
	}
	if c := mustConnect(t, kafka); c.agent != "agent-3" {
		t.Errorf("a new connection leads to %s", c.agent)
	}

	agents[0].answers(http.StatusOK)
	serverIs(t, status, "agent-1", "UP")
	if c := mustConnect(t, kafka); c.agent != "agent-1" && c.agent != "agent-3" {
		t.Errorf("a new connection leads to %s", c.agent)
	}
	if err := held["agent-3"].works(); err != nil {
		t.Errorf("the connection to an agent that was always well: %v", err)
	}
}

// TestProxiesFindPeersThatAreGone: what connections of Kafka may be quiet for is longer than what firewalls remember, and
// the system's keep-alives begin after two hours.
func TestProxiesFindPeersThatAreGone(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells when it will ask a peer for a sign of life")
	}
	agents := threeAgents(t)
	t.Run("HAProxy", func(t *testing.T) {
		kafka, _ := startHAProxy(t, agents)
		c := mustConnect(t, kafka)
		asks(t, kafka, c.LocalAddr().String())
		for _, a := range agents {
			if a.name == c.agent {
				asks(t, "", a.kafka.Addr().String())
			}
		}
	})
	t.Run("nginx", func(t *testing.T) {
		kafka, first := startNginx(t, agents)
		asks(t, kafka, first.LocalAddr().String())
	})
}

// asks waits until the kernel has an ask for a sign of life ahead, within the next minute, for the connection between the
// addresses, as its end at the first one sees it; "" is any address.
func asks(t *testing.T, local, remote string) {
	t.Helper()
	harness.Eventually(t, time.Minute, func() error {
		table, err := os.ReadFile("/proc/net/tcp")
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(table)) {
			f := strings.Fields(line)
			if len(f) < 6 || f[3] != "01" || local != "" && f[1] != kernelAddress(t, local) || f[2] != kernelAddress(t, remote) {
				continue // f[3] is the state, 01 an open connection
			}
			timer, ticks, _ := strings.Cut(f[5], ":")
			wait, err := strconv.ParseInt(ticks, 16, 64)
			if err != nil {
				return err
			}
			if wait *= int64(time.Second / 100); timer != "02" || time.Duration(wait) > time.Minute {
				return fmt.Errorf("the kernel asks %s for a sign of life in %v (timer %s), want within a minute", remote, time.Duration(wait), timer)
			}
			return nil
		}
		return fmt.Errorf("no connection from %q to %q in\n%s", local, remote, table)
	})
}

// kernelAddress is an IPv4 address and port as /proc/net/tcp has it.
func kernelAddress(t *testing.T, address string) string {
	t.Helper()
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		t.Fatal(err)
	}
	ip := a.Addr().As4()
	return fmt.Sprintf("%08X:%04X", binary.NativeEndian.Uint32(ip[:]), a.Port())
}

func TestHAProxyTriesTheNextAgentAtOnce(t *testing.T) {
	agents := threeAgents(t)
	kafka, status := startHAProxy(t, agents)
	// Its health is well: HAProxy learns only by trying.
	agents[2].refuse(t)
	for range 9 {
		if c := mustConnect(t, kafka); c.agent == "agent-3" {
			t.Fatal("a connection leads to an agent that listens no more")
		}
	}
	for _, a := range agents {
		a.answers(http.StatusServiceUnavailable)
		serverIs(t, status, a.name, "NOLB")
	}
	if err := get("http://" + status + "/healthz"); err == nil {
		t.Error("HAProxy is well without any agent")
	}
	if metrics, err := fetch("http://" + status + "/metrics"); err != nil || !strings.Contains(metrics, "haproxy_server_status") {
		t.Errorf("metrics: %v, %.200s", err, metrics)
	}
	if c, err := connect(kafka); err == nil {
		t.Errorf("a new connection leads to %s, which is not ready", c.agent)
	} else if timeout := (net.Error)(nil); errors.As(err, &timeout) && timeout.Timeout() {
		t.Errorf("without agents a client is left waiting: %v", err)
	}
}

// startNginx starts nginx with deploy/nginx.conf, and returns where clients connect, and the first connection.
func startNginx(t *testing.T, agents []*standIn) (kafka string, first *connection) {
	t.Helper()
	program := harness.Tool(t, "nginx")
	kafka = harness.FreeAddress(t)
	config, err := Nginx(addresses("nginx", map[string]string{"9092": kafka}, agents...))
	if err != nil {
		t.Fatal(err)
	}
	path := write(t, "nginx.conf", config)
	pid := "pid " + filepath.Join(t.TempDir(), "nginx.pid") + ";"
	check(t, exec.Command(program, "-t", "-c", path, "-g", pid))
	harness.StartProgram(t, "nginx", exec.Command(program, "-c", path, "-g", pid+" daemon off; master_process off;"))
	harness.Eventually(t, time.Minute, func() (err error) {
		first, err = connect(kafka)
		return err
	})
	t.Cleanup(func() { _ = first.Close() })
	return kafka, first
}

func TestNginxTriesTheNextAgentAtOnce(t *testing.T) {
	agents := threeAgents(t)
	kafka, first := startNginx(t, agents)
	held := map[string]*connection{first.agent: first}
	for range 2 {
		c := mustConnect(t, kafka)
		held[c.agent] = c
	}
	if len(held) != 3 {
		t.Fatalf("three connections lead to %d agents", len(held))
	}
	agents[2].refuse(t)
	for range 6 {
		if c := mustConnect(t, kafka); c.agent == "agent-3" {
			t.Fatal("a connection leads to an agent that listens no more")
		}
	}
	for name, c := range held {
		if err := c.works(); err != nil {
			t.Errorf("the connection to %s: %v", name, err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestProxiesOfAnotherFormAreNotTaken(t *testing.T) {
	nowhere := func(name, port string) (string, error) { return "", fmt.Errorf("no %s:%s", name, port) }
	if _, err := HAProxy(nowhere); err == nil || err.Error() != "no haproxy:9092" {
		t.Errorf("got %v", err)
	}
	if _, err := Nginx(nowhere); err == nil || err.Error() != "no nginx:9092" {
		t.Errorf("got %v", err)
	}
}
