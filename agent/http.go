package agent

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// pingTimeout bounds the readiness probe's question to the metadata store.
const pingTimeout = 2 * time.Second

// newHTTP serves what operators and orchestrators ask:
//
//	GET  /livez      200 while the process runs
//	GET  /readyz     200 while it takes clients: listening, not draining, metadata store reachable; else 503 and why
//	GET  /metrics    Prometheus
//	GET  /v1/agents  the agents that are alive, as JSON ([ListedAgent])
//	POST /v1/drain   202, and the agent drains and ends; 403 for who is on another machine, and for browsers
func newHTTP(ready func(context.Context) error, agents http.Handler, drain func(), reg *prometheus.Registry) *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), pingTimeout)
		defer cancel()
		if err := ready(ctx); err != nil {
			answer(w, http.StatusServiceUnavailable, err.Error())
			return
		}
		answer(w, http.StatusOK, "ok")
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{Registry: reg}))
	mux.Handle("GET /v1/agents", agents)
	mux.Handle("POST /v1/drain", drainHandler(drain))
	// No page that an operator's browser shows may drain an agent.
	return &http.Server{Handler: http.NewCrossOriginProtection().Handler(mux), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
}

func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	// A peer that left needs no answer.
	_, _ = fmt.Fprintln(w, text)
}
