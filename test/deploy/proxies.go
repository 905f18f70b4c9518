package deploy

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Addresses says where a test has what the files call "agent-1:9092": at 127.0.0.1:34567. The
// proxies themselves are "haproxy" and "nginx".
type Addresses func(name, port string) (string, error)

var (
	haproxyBind   = regexp.MustCompile(`(?m)^\tbind :(\d+)$`)
	haproxyCheck  = regexp.MustCompile(`\bcheck port (\d+)\b`)
	haproxyServer = regexp.MustCompile(`(?m)^\tserver (\S+) ([\w.-]+):(\d+)$`)
	nginxListen   = regexp.MustCompile(`\blisten (\d+)`)
	nginxServer   = regexp.MustCompile(`(?m)^\t\tserver ([\w.-]+):(\d+)`)
)

// HAProxy returns deploy/haproxy.cfg with the addresses of a test.
func HAProxy(at Addresses) (string, error) {
	config, err := read("haproxy.cfg")
	if err != nil {
		return "", err
	}
	check := haproxyCheck.FindStringSubmatch(config)
	if check == nil {
		return "", fmt.Errorf("haproxy.cfg checks no port")
	}
	config, err = replace(config, haproxyBind, func(m []string) (string, error) {
		address, err := at("haproxy", m[1])
		return "\tbind " + address, err
	})
	if err != nil {
		return "", err
	}
	return replace(config, haproxyServer, func(m []string) (string, error) {
		kafka, err := at(m[2], m[3])
		if err != nil {
			return "", err
		}
		// In a container every agent has the same port for its health; here each has its own.
		health, err := at(m[2], check[1])
		return fmt.Sprintf("\tserver %s %s port %s", m[1], kafka, health[strings.LastIndexByte(health, ':')+1:]), err
	})
}

// Nginx returns deploy/nginx.conf with the addresses of a test.
func Nginx(at Addresses) (string, error) {
	config, err := read("nginx.conf")
	if err != nil {
		return "", err
	}
	config, err = replace(config, nginxListen, func(m []string) (string, error) {
		address, err := at("nginx", m[1])
		return "listen " + address, err
	})
	if err != nil {
		return "", err
	}
	return replace(config, nginxServer, func(m []string) (string, error) {
		address, err := at(m[1], m[2])
		return "\t\tserver " + address, err
	})
}

func read(name string) (string, error) {
	content, err := os.ReadFile(filepath.Join(root, "deploy", name))
	return string(content), err
}

// replace replaces each match; a file that no longer has any is not what this package knows how to change.
func replace(text string, pattern *regexp.Regexp, with func(match []string) (string, error)) (string, error) {
	var failed error
	found := 0
	text = pattern.ReplaceAllStringFunc(text, func(whole string) string {
		found++
		replaced, err := with(pattern.FindStringSubmatch(whole))
		if err != nil && failed == nil {
			failed = err
		}
		return replaced
	})
	if found == 0 && failed == nil {
		failed = fmt.Errorf("nothing in the file looks like %s", pattern)
	}
	return text, failed
}
