package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/wadi-log/wadi/agent/admin"
	"github.com/wadi-log/wadi/agent/catalog"
	"github.com/wadi-log/wadi/agent/cluster"
	"github.com/wadi-log/wadi/agent/dynamic"
	"github.com/wadi-log/wadi/agent/fetch"
	"github.com/wadi-log/wadi/agent/group"
	"github.com/wadi-log/wadi/agent/maintenance"
	"github.com/wadi-log/wadi/agent/produce"
	"github.com/wadi-log/wadi/agent/server"
	"github.com/wadi-log/wadi/agent/telemetry"
	"github.com/wadi-log/wadi/agent/transaction"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/protocol/configs"
)

const (
	// uploads is the number of data files put at the same time.
	uploads = 4
)

// Agent is one agent, listening since New and serving in Run.
type Agent struct {
	config  Config
	version string
	log     *slog.Logger
	level   *slog.LevelVar

	store      metadata.Store
	bucket     objstore.Bucket
	settings   *dynamic.Settings
	catalog    *catalog.Catalog
	gauge      *gauge
	membership *cluster.Membership
	router     *cluster.Router
	follower   *fetch.Follower
	blocks     *fetch.Blocks
	peers      peers
	fetcher    *fetch.Fetcher
	acc        *produce.Accumulator
	groups     *group.Coordinator
	// transactions is asked by groups, and so outlives them.
	transactions *transaction.Coordinator
	server       *server.Server
	http         *http.Server
	// records deletes records, also for background work.
	records records
	// runner does background work; nil without the role jobs.
	runner *maintenance.Runner

	kafkaListeners []kafkaListener
	httpListener   net.Listener
	broker         configs.Broker
	// serving is true from the first accepted connection to the start of a drain.
	serving atomic.Bool
	// drainAsked ends Run as its context does.
	drainAsked chan struct{}
}

// New opens the stores, listens, and enters the agent into the register. Its
// errors name the setting at fault and what to do. version is the program's, for other agents to see. level is the
// log's, and follows what clients set over the wire. ctx bounds New alone.
func New(ctx context.Context, config Config, version string, log *slog.Logger, level *slog.LevelVar) (_ *Agent, err error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	config = config.sized()
	a := &Agent{config: config, version: version, log: log, level: level, drainAsked: make(chan struct{}, 1)}
	if config.DeleteGrace < metadata.MaxFileAge {
		log.Warn("--delete-grace is too short for anything but tests: if the metadata store is slow to answer, records may be lost", "is", config.DeleteGrace, "least", metadata.MaxFileAge)
	}
	if a.broker, err = configs.ParseBroker(config.KafkaConfigs); err != nil {
		return nil, fmt.Errorf("--kafka-config: %w", err)
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	defer func() {
		if err != nil {
			a.close()
		}
	}()
	// The fields are set after the check: a nil *Store in an interface is not nil.
	store, err := a.openMetadata(ctx)
	if err != nil {
		return nil, err
	}
	a.store = store
	if err := checkClock(ctx, store); err != nil {
		return nil, err
	}
	bucket, err := OpenObjects(ctx, config, ReadWrite, reg)
	if err != nil {
		return nil, err
	}
	a.bucket = bucket
	if err := a.claimBucket(ctx); err != nil {
		return nil, err
	}
	if err := a.listen(ctx); err != nil {
		return nil, err
	}
	if err := a.join(ctx); err != nil {
		return nil, err
	}
	if err := a.build(ctx, reg); err != nil {
		return nil, err
	}
	return a, nil
}

// listen opens all sockets, so that a port in use shows before anything starts.
func (a *Agent) listen(ctx context.Context) (err error) {
	if a.kafkaListeners, err = a.config.listenKafka(ctx); err != nil {
		return err
	}
	var sockets net.ListenConfig
	if a.httpListener, err = sockets.Listen(ctx, "tcp", a.config.HTTPListen); err != nil {
		return fmt.Errorf("--http-listen: %w; choose another address, or stop what holds it", err)
	}
	if err := a.peers.listen(ctx, a.config); err != nil {
		return err
	}
	return nil
}

// join enters the agent into the register of agents.
func (a *Agent) join(ctx context.Context) error {
	zones, err := a.config.zones()
	if err != nil {
		return err
	}
	self := metadata.Agent{
		NodeID: a.config.NodeID, Name: a.name(), Zone: a.config.Zone,
		Peer:  a.peers.address(a.config),
		Roles: configs.SplitList(a.config.Roles), Version: a.version, StartedAt: time.Now(),
	}
	for _, l := range a.kafkaListeners {
		self.Listeners = append(self.Listeners, l.advertised)
	}
	a.gauge = &gauge{bucket: a.bucket}
	a.membership = cluster.NewMembership(timedBeats{a.store, &a.gauge.commits}, self, a.gauge, a.log)
	a.router = cluster.NewRouter(a.membership, zones)
	if err := a.membership.Register(ctx); err != nil {
		if errors.Is(err, metadata.ErrNodeIDInUse) {
			return fmt.Errorf("--node-id: %w; choose another, or leave it out to take a free one", err)
		}
		return err
	}
	return nil
}

// name tells this agent from others in the register, and is the same after a
// restart: what is set, or the machine and where it listens first.
func (a *Agent) name() string {
	if a.config.Name != "" {
		return a.config.Name
	}
	machine, err := os.Hostname()
	if err != nil {
		machine = "unknown"
	}
	return machine + "/" + a.KafkaAddr()
}

// build makes the parts and ties them together.
func (a *Agent) build(ctx context.Context, reg *prometheus.Registry) error {
	clusterID, err := a.store.ClusterID(ctx)
	if err != nil {
		return err
	}
	a.gauge.clusterID = clusterID
	if err := a.loadSettings(ctx); err != nil {
		return err
	}
	a.catalog = catalog.New(a.store, a.settings.Broker, a.log)
	if err := a.catalog.EnsureInternalTopics(ctx); err != nil {
		return err
	}

	fetchMetrics := fetch.NewMetrics(reg)
	if err := a.buildBlocks(ctx, a.config.blocks(), fetchMetrics, reg); err != nil {
		return err
	}
	tail := fetch.NewTail(fetch.DefaultTailRuns)
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "wadi_fetch_waiting", Help: "Long polls that wait for records.",
	}, func() float64 { return float64(tail.Waiting()) }))
	a.follower = fetch.NewFollower(a.store, tail, fetch.Followers{
		OnCommits: func(ctx context.Context, commits []metadata.Commit) {
			a.settings.Apply(ctx, commits)
			a.catalog.Apply(ctx, commits)
		},
		OnGap: func(ctx context.Context) {
			a.settings.Reset(ctx)
			a.catalog.Reset(ctx)
			a.transactions.ForgetProducerIDs()
		},
	}, a.log)
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "wadi_metadata_halted", Help: "1 while the metadata store is halted, since it lost changes that were known: nothing is served.",
	}, func() float64 {
		if a.follower.Halted() {
			return 1
		}
		return 0
	}))
	fetchConfig := a.config.responses(int64(a.broker.FetchMaxBytes))
	fetchConfig.Elsewhere = a.router.ReadElsewhere
	fetchConfig.TailAge = min(fetchConfig.TailAge, a.config.DeleteGrace/2)
	a.fetcher = fetch.New(a.catalog, a.store, tail, a.blocks, fetchMetrics, fetchConfig, a.log)

	produceMetrics := produce.NewMetrics(reg)
	flushInterval, putRate := a.config.pace()
	a.acc = produce.NewAccumulator(produce.Config{
		FlushInterval: flushInterval, FlushBytes: a.config.FlushBytes, PutRate: putRate,
		Uploads: uploads, Compression: datafile.Compression(a.config.FileCompression),
	}, timedPuts{a.bucket, &a.gauge.puts}, timedCommits{a.store, &a.gauge.commits}, a.committed(tail), produceMetrics, a.log)

	a.transactions = transaction.New(a.store, a.catalog, a.settings.Broker, a.changed(tail), transaction.NewMetrics(reg), a.log)
	a.groups = group.New(a.store, a.transactions, a.catalog, groupSettings{a.settings}, a.membership.Self().Incarnation, group.NewMetrics(reg), a.log)

	a.records = records{a.store, tail, a.follower}
	budget := server.NewBudget(a.config.MemoryBytes)
	serverConfig := server.DefaultConfig()
	serverConfig.MaxConnections, serverConfig.MaxInFlight = a.config.MaxConnections, a.config.MaxInFlight
	serverConfig.MaxConnectionsPerIP = func() int { return int(a.settings.Broker().MaxConnectionsPerIP) }
	serverConfig.Zone, serverConfig.ZoneOf = a.config.Zone, a.router.Zone
	serverConfig.MaxPipelined = int(a.broker.QueuedMaxRequests)
	serverConfig.MaxFrameBytes = int32(min(int64(serverConfig.MaxFrameBytes), a.config.MemoryBytes))
	if ms := a.broker.ConnectionsMaxIdleMs; ms > 0 {
		serverConfig.IdleTimeout = time.Duration(ms) * time.Millisecond
	}
	a.server = server.New(serverConfig, handlers(
		a.router.TakesRecords,
		produce.NewHandler(a.catalog, a.acc, produceMetrics, a.log),
		a.transactions,
		a.fetcher,
		cluster.New(a.catalog, a.router, a.broker, a.settings.Features, clusterID, a.log),
		a.groups,
		admin.New(a.catalog, a.records, adminAgents{a.membership, a.router}, a.settings, a.store, a.brokerFacts(), a.log),
		telemetry.New(a.settings.ClientMetrics, a.broker.TelemetryMaxBytes, reg),
	), budget, server.NewMetrics(reg, budget), a.log)
	a.gauge.server = a.server
	a.runner = a.newRunner(reg)
	registerAgentStates(reg, a.membership)
	a.http = newHTTP(a.ready, agentsHandler(a.membership), a.askDrain, reg)
	return nil
}

// committed hands what the write path committed to the read path: the bytes
// first, so that a long poll that the index wakes finds them.
func (a *Agent) committed(tail *fetch.Tail) produce.Committed {
	return func(files []metadata.File, bodies [][]byte, commits []metadata.Commit) {
		var produced int64
		for i, f := range files {
			a.blocks.Fill(f.ID, bodies[i])
			produced += f.Size
		}
		a.fetcher.MakeWay(produced)
		if gap := tail.Apply(commits); gap {
			a.follower.Kick()
		}
	}
}

// changed hands what ended transactions to the read path. After a lost answer the feed
// has what nobody here saw.
func (a *Agent) changed(tail *fetch.Tail) transaction.Committed {
	return func(commits []metadata.Commit, lost bool) {
		if gap := tail.Apply(commits); gap || lost {
			a.follower.Kick()
		}
	}
}

// ready says why the agent can't take clients, nil when it can.
func (a *Agent) ready(ctx context.Context) error {
	if !a.serving.Load() {
		return errors.New("not serving: starting or draining")
	}
	return a.store.Ping(ctx)
}

// Run serves until ctx ends or somebody asks for a drain, then drains: it has clients led to other agents
// for the config's DrainDelay, leaves the register, stops reading requests, flushes and commits what it holds,
// answers, and closes. It returns nil when all that from leaving on was done within the config's DrainTimeout.
func (a *Agent) Run(ctx context.Context) error {
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	registered, leave := context.WithCancel(background)
	defer leave()
	var work, listening sync.WaitGroup
	work.Go(func() { a.follower.Run(background) })
	work.Go(func() { a.groups.Run(background) })
	work.Go(func() { a.transactions.Run(background) })
	if a.runner != nil {
		work.Go(func() { a.runner.Run(background) })
	}
	work.Go(func() { a.settings.Run(background) })
	work.Go(func() { a.membership.Run(registered) })
	failed := make(chan error, len(a.kafkaListeners)+2)
	for _, l := range a.kafkaListeners {
		listening.Go(func() { failed <- a.server.Serve(l, l.advertised.Name) })
	}
	listening.Go(func() {
		if err := a.http.Serve(a.httpListener); !errors.Is(err, http.ErrServerClosed) {
			failed <- fmt.Errorf("--http-listen: %w", err)
		}
	})
	if a.peers.server != nil {
		listening.Go(func() {
			if err := a.peers.server.Serve(a.peers.listener); err != nil {
				failed <- fmt.Errorf("--peer-listen: %w", err)
			}
		})
	}
	a.serving.Store(true)

	var err error
	select {
	case <-ctx.Done():
	case <-a.drainAsked:
	case err = <-failed:
	}
	a.serving.Store(false)
	if err == nil {
		a.stepAside()
	}
	leave()
	err = errors.Join(err, a.drain())
	stop()
	work.Wait()
	a.close() // ends the HTTP listener too, which answered "draining" until now
	listening.Wait()
	return err
}

// close releases what New opened, as far as it came.
func (a *Agent) close() {
	if a.http != nil {
		if err := a.http.Close(); err != nil {
			a.log.Warn("closing the HTTP listener failed", "error", err)
		}
	}
	for _, l := range a.kafkaListeners {
		_ = l.Close() // closed already after a drain
	}
	if a.httpListener != nil {
		_ = a.httpListener.Close() // as well
	}
	if a.acc != nil {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = a.acc.Drain(ctx) // empty, or given up by drain
	}
	// Other agents ask for blocks, and blocks are asked of other agents.
	a.peers.closeServer()
	if a.blocks != nil {
		a.blocks.Close()
	}
	a.peers.closeClient()
	if a.groups != nil {
		a.groups.Close()
	}
	if a.transactions != nil {
		a.transactions.Close()
	}
	if a.catalog != nil {
		a.catalog.Close()
	}
	if a.bucket != nil {
		if err := a.bucket.Close(); err != nil {
			a.log.Warn("closing the object store failed", "error", err)
		}
	}
	if a.store != nil {
		if err := a.store.Close(); err != nil {
			a.log.Warn("closing the metadata store failed", "error", err)
		}
	}
}

// KafkaAddr is where the first Kafka listener listens.
func (a *Agent) KafkaAddr() string { return a.kafkaListeners[0].Addr().String() }

// HTTPAddr is where /livez, /readyz, /metrics and /v1 are.
func (a *Agent) HTTPAddr() string { return a.httpListener.Addr().String() }

// Fact is a line of the start-up banner.
type Fact struct{ Name, Value string }

// Describe says what the agent is and where it stores what, without secrets.
func (a *Agent) Describe() []Fact {
	flushInterval, putRate := a.config.pace()
	rate := "no limit"
	if putRate > 0 {
		rate = fmt.Sprintf("%g files/s before they are full", putRate)
	}
	var listen, connect []string
	for _, l := range a.kafkaListeners {
		name := ""
		if l.advertised.Name != metadata.DefaultListener {
			name = l.advertised.Name + "://"
		}
		listen = append(listen, name+l.Addr().String())
		connect = append(connect, name+l.advertised.Address())
	}
	facts := []Fact{
		{"Kafka", strings.Join(listen, ", ")},
		{"clients connect to", strings.Join(connect, ", ")},
		{"HTTP", "http://" + a.HTTPAddr()},
		{"name", a.name()},
		{"node ID", strconv.Itoa(int(a.membership.Self().NodeID))},
		{"metadata", redact(a.config.MetadataURL())},
		{"objects", redact(a.config.ObjectsURL())},
		{"memory", fmt.Sprintf("about %d MiB", a.config.Memory>>20)},
		{"flush", fmt.Sprintf("after %v or %d bytes, %s", flushInterval, a.config.FlushBytes, rate)},
	}
	if a.peers.listener != nil {
		facts = append(facts, Fact{"other agents connect to", a.peers.address(a.config)})
	}
	if a.config.Zone != "" {
		facts = append(facts, Fact{"zone", a.config.Zone})
	}
	return facts
}

// redact hides the password of a URL.
func redact(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return scheme(raw) + ":..."
	}
	if q := u.Query(); q.Has("password") {
		q.Set("password", "xxxxx")
		u.RawQuery = q.Encode()
	}
	return u.Redacted()
}
