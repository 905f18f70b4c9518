package admin

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/metadata"
)

// setOn renders what is set on a resource, as it is in the store.
func setOn(t *testing.T, store metadata.Configs, r resource) string {
	t.Helper()
	set, _, err := store.ConfigsOf(t.Context(), []metadata.ConfigResource{r.stored()})
	if err != nil {
		t.Fatal(err)
	}
	var pairs []string
	for name, value := range set[r.stored()] {
		pairs = append(pairs, name+"="+value)
	}
	slices.Sort(pairs)
	return strings.Join(pairs, " ")
}

// TestConfigsOfOtherResources compares with the answers of a Kafka 4.2.0 broker. It
// refuses to know less than we do: it keeps unknown broker configs and contradictions
// between known ones, and takes no APPEND for lists of client metrics subscriptions.
func TestConfigsOfOtherResources(t *testing.T) {
	all, one := resource{brokerResource, ""}, resource{brokerResource, "1"}
	logger, group, metrics := resource{loggerResource, "1"}, resource{groupResource, "g"}, resource{clientResource, "m"}
	before := map[resource][]operation{
		all:     {set("log.retention.ms", "77")},
		group:   {set("consumer.session.timeout.ms", "50000")},
		metrics: {set("metrics", "a.,b.")},
	}
	const alls, groups, subscriptions = "log.retention.ms=77", "consumer.session.timeout.ms=50000", "metrics=a.,b."
	for name, tc := range map[string]struct {
		resource resource
		ops      []operation
		want     string
		after    string
	}{
		"one broker":               {one, []operation{set("message.max.bytes", " 2000000 ")}, "ok", "message.max.bytes=2000000"},
		"all brokers":              {all, []operation{set("message.max.bytes", "2000000"), remove("log.retention.ms")}, "ok", "message.max.bytes=2000000"},
		"static":                   {one, []operation{set("num.partitions", "7")}, "INVALID_REQUEST: Cannot update these configs dynamically: num.partitions", ""},
		"static for all":           {all, []operation{set("num.partitions", "7")}, "INVALID_REQUEST: Cannot update these configs dynamically: num.partitions", alls},
		"other unit":               {one, []operation{set("log.retention.hours", "7")}, "INVALID_REQUEST: Cannot update these configs dynamically: log.retention.hours", ""},
		"fact":                     {one, []operation{set("listeners", "PLAINTEXT://:1")}, "INVALID_REQUEST: Cannot update these configs dynamically: listeners", ""},
		"unknown":                  {one, []operation{set("nope", "7")}, "INVALID_REQUEST: Unknown broker config name: nope", ""},
		"delete the unknown":       {one, []operation{remove("nope")}, "ok", ""},
		"no number":                {all, []operation{set("message.max.bytes", "x")}, "INVALID_REQUEST: Invalid value x for configuration message.max.bytes: Not a number of type INT", alls},
		"out of range":             {all, []operation{set("message.max.bytes", "-5")}, "INVALID_REQUEST: Invalid value -5 for configuration message.max.bytes: Value must be at least 0", alls},
		"contradiction":            {all, []operation{set("log.cleaner.min.compaction.lag.ms", "10"), set("log.cleaner.max.compaction.lag.ms", "5")}, "INVALID_REQUEST: as the defaults of topics: conflict topic config setting", alls},
		"append to a list":         {one, []operation{add("log.cleanup.policy", "compact")}, "ok", "log.cleanup.policy=delete,compact"},
		"append to no list":        {one, []operation{add("message.max.bytes", "7")}, "INVALID_CONFIG: Config value append is not allowed for config key: message.max.bytes", ""},
		"subtract from no list":    {one, []operation{subtract("nope", "7")}, "INVALID_CONFIG: Config value subtract is not allowed for config key: nope", ""},
		"throttle":                 {one, []operation{set("leader.replication.throttled.rate", "5000")}, "ok", "leader.replication.throttled.rate=5000"},
		"unknown broker":           {resource{brokerResource, "9"}, nil, "INVALID_REQUEST: Unexpected broker id", ""},
		"no broker":                {resource{brokerResource, "x"}, nil, "INVALID_REQUEST: Broker id must be an integer", ""},
		"twice":                    {one, []operation{set("message.max.bytes", "7"), remove("message.max.bytes")}, "INVALID_REQUEST: Error due to duplicate config keys", ""},
		"null":                     {one, []operation{op(kmsg.IncrementalAlterConfigOpSet, "message.max.bytes", nil)}, "INVALID_REQUEST: Null value not supported for : message.max.bytes", ""},
		"no such operation":        {one, []operation{op(9, "message.max.bytes", ptr("7"))}, "INVALID_REQUEST: Unknown operation 9 on message.max.bytes", ""},
		"level":                    {logger, []operation{set("root", "DEBUG")}, "ok", "root=DEBUG"},
		"unknown level":            {logger, []operation{set("root", "LOUD")}, "INVALID_CONFIG: Cannot set the log level of root to LOUD as it is not a supported log level.", ""},
		"unknown logger":           {logger, []operation{set("nope", "DEBUG")}, "INVALID_CONFIG: Logger nope does not exist!", ""},
		"delete an unknown logger": {logger, []operation{remove("nope")}, "INVALID_CONFIG: Logger nope does not exist!", ""},
		"delete the root":          {logger, []operation{remove("root")}, "INVALID_REQUEST: Removing the log level of the root logger is not allowed", ""},
		"append to a level":        {logger, []operation{add("root", "DEBUG")}, "INVALID_REQUEST: APPEND operation is not allowed for the BROKER_LOGGER resource", ""},
		"odd level operation":      {logger, []operation{op(9, "root", ptr("DEBUG"))}, "INVALID_REQUEST: Unknown operation 9 on root", ""},
		"logger of nobody":         {resource{loggerResource, ""}, nil, "INVALID_REQUEST: Broker id must be an integer, but it is: ", ""},
		"group":                    {group, []operation{set("consumer.session.timeout.ms", "55000"), set("consumer.heartbeat.interval.ms", "6000")}, "ok", "consumer.heartbeat.interval.ms=6000 consumer.session.timeout.ms=55000"},
		"group, nothing left":      {group, []operation{remove("consumer.session.timeout.ms")}, "ok", ""},
		"short session":            {group, []operation{set("consumer.session.timeout.ms", "5")}, "INVALID_CONFIG: consumer.session.timeout.ms must be greater than or equal to group.consumer.min.session.timeout.ms", groups},
		"unknown group config":     {group, []operation{set("nope", "5")}, "INVALID_CONFIG: Unknown group config name: nope", groups},
		"append to a group":        {group, []operation{add("consumer.session.timeout.ms", "5")}, "INVALID_CONFIG: Can't APPEND to key consumer.session.timeout.ms because its type is not LIST.", groups},
		"no group":                 {resource{groupResource, ""}, nil, "INVALID_REQUEST: Default group resources are not allowed.", ""},
		"group of odd bytes":       {resource{groupResource, "\xff\x00"}, []operation{set("consumer.session.timeout.ms", "55000")}, "ok", "consumer.session.timeout.ms=55000"},
		"group with a long name":   {resource{groupResource, strings.Repeat("g", 1025)}, nil, "INVALID_REQUEST: The name of the resource has 1025 bytes, more than 1024.", ""},
		"subscription":             {metrics, []operation{set("interval.ms", "500"), set("match", "client_software_name = Java, client_id=x.*")}, "ok", "interval.ms=500 match=client_software_name = Java,client_id=x.* metrics=a.,b."},
		"append to a subscription": {metrics, []operation{add("metrics", "c.")}, "ok", "metrics=a.,b.,c."},
		"subtract from one":        {metrics, []operation{subtract("metrics", "a.")}, "ok", "metrics=b."},
		"often":                    {metrics, []operation{set("interval.ms", "5")}, "INVALID_REQUEST: Invalid value 5 for interval.ms, interval must be between 100 and 3600000 (1 hour)", subscriptions},
		"unknown metrics config":   {metrics, []operation{set("nope", "5")}, "INVALID_REQUEST: Unknown client metrics configuration: nope", subscriptions},
		"interval of no number":    {metrics, []operation{set("interval.ms", "x")}, "INVALID_CONFIG: Invalid value x for configuration interval.ms: Not a number of type INT", subscriptions},
		"pattern":                  {metrics, []operation{set("match", "client_id=[")}, "INVALID_CONFIG: Illegal client matching pattern: client_id=[", subscriptions},
		"no subscription":          {resource{clientResource, ""}, nil, "INVALID_REQUEST: Subscription name can't be empty", ""},
	} {
		t.Run(name, func(t *testing.T) {
			a, store := newTestAdmin(t, nil)
			for r, ops := range before {
				if got := a.IncrementalAlterConfigs(t.Context(), client, incrementRequest(r, ops...)).Resources[0]; got.ErrorCode != 0 {
					t.Fatal(*got.ErrorMessage)
				}
			}
			was := setOn(t, store, tc.resource)
			for _, validate := range []bool{true, false} {
				req := incrementRequest(tc.resource, tc.ops...)
				req.ValidateOnly = validate
				r := onTheWire(t, a.IncrementalAlterConfigs(t.Context(), client, req)).Resources[0]
				if got := result(r.ErrorCode, r.ErrorMessage); got != tc.want && !(tc.want != "ok" && strings.HasPrefix(got, tc.want)) {
					t.Errorf("validate only %v: %q, want %q", validate, got, tc.want)
				}
				want := tc.after
				if validate {
					want = was
				}
				if got := setOn(t, store, tc.resource); got != want {
					t.Errorf("validate only %v: configs are %q, want %q", validate, got, want)
				}
			}
		})
	}
}

func TestAlterConfigsReplacesOfOthersToo(t *testing.T) {
	a, store := newTestAdmin(t, nil)
	for _, tc := range []struct {
		resource      resource
		first, second []string
		want          string
	}{
		{resource{brokerResource, "2"}, []string{"message.max.bytes", "7", "log.retention.ms", "8"}, []string{"log.retention.ms", "9"}, "log.retention.ms=9"},
		{resource{groupResource, "g"}, []string{"consumer.session.timeout.ms", "50000"}, nil, ""},
		{resource{clientResource, "m"}, []string{"interval.ms", "500"}, []string{"metrics", "*"}, "metrics=*"},
	} {
		for _, pairs := range [][]string{tc.first, tc.second} {
			if r := a.AlterConfigs(t.Context(), client, alterRequest(tc.resource, pairs...)).Resources[0]; r.ErrorCode != 0 {
				t.Fatal(*r.ErrorMessage)
			}
		}
		if got := setOn(t, store, tc.resource); got != tc.want {
			t.Errorf("%+v: %q, want %q", tc.resource, got, tc.want)
		}
	}
}

func TestDescribeShowsWhatIsSetOverTheWire(t *testing.T) {
	a, topics := newTestAdmin(t, map[string]string{"message.max.bytes": "1000"})
	create(t, topics, metadata.NewTopic{Name: "t"})
	for r, ops := range map[resource][]operation{
		{brokerResource, ""}:  {set("message.max.bytes", "2000"), set("log.retention.ms", "77")},
		{brokerResource, "2"}: {set("message.max.bytes", "3000")},
		{loggerResource, "2"}: {set("root", "DEBUG")},
		{groupResource, "g"}:  {set("consumer.session.timeout.ms", "50000")},
		{clientResource, "m"}: {set("metrics", "*")},
	} {
		if got := a.IncrementalAlterConfigs(t.Context(), client, incrementRequest(r, ops...)).Resources[0]; got.ErrorCode != 0 {
			t.Fatal(*got.ErrorMessage)
		}
	}
	for _, tc := range []struct {
		resource resource
		config   string
		want     string
	}{
		{resource{brokerResource, "1"}, "message.max.bytes", "2000 DYNAMIC_DEFAULT_BROKER_CONFIG message.max.bytes=2000, STATIC_BROKER_CONFIG message.max.bytes=1000, DEFAULT_CONFIG message.max.bytes=1048588"},
		{resource{brokerResource, "2"}, "message.max.bytes", "3000 DYNAMIC_BROKER_CONFIG message.max.bytes=3000, DYNAMIC_DEFAULT_BROKER_CONFIG message.max.bytes=2000, STATIC_BROKER_CONFIG message.max.bytes=1000, DEFAULT_CONFIG message.max.bytes=1048588"},
		{resource{brokerResource, ""}, "message.max.bytes", "2000 DYNAMIC_DEFAULT_BROKER_CONFIG message.max.bytes=2000"},
		{resource{brokerResource, ""}, "num.partitions", "none"},
		{resource{topicResource, "t"}, "max.message.bytes", "2000 DYNAMIC_DEFAULT_BROKER_CONFIG message.max.bytes=2000, STATIC_BROKER_CONFIG message.max.bytes=1000, DEFAULT_CONFIG message.max.bytes=1048588"},
		{resource{topicResource, "t"}, "retention.ms", "77 DYNAMIC_DEFAULT_BROKER_CONFIG log.retention.ms=77"},
		{resource{loggerResource, "1"}, "root", "INFO"},
		{resource{loggerResource, "2"}, "root", "DEBUG"},
		{resource{groupResource, "g"}, "consumer.session.timeout.ms", "50000 GROUP_CONFIG consumer.session.timeout.ms=50000, DEFAULT_CONFIG group.consumer.session.timeout.ms=45000"},
		{resource{groupResource, "other"}, "consumer.session.timeout.ms", "45000 DEFAULT_CONFIG group.consumer.session.timeout.ms=45000"},
		{resource{clientResource, "m"}, "metrics", "* CLIENT_METRICS_CONFIG metrics=*, DEFAULT_CONFIG metrics="},
	} {
		req := describeRequest(tc.resource.kind, tc.resource.name, tc.config)
		req.IncludeSynonyms = true
		r := onTheWire(t, a.DescribeConfigs(t.Context(), client, req)).Resources[0]
		got := "none"
		if len(r.Configs) == 1 {
			var chain []string
			for _, s := range r.Configs[0].ConfigSynonyms {
				chain = append(chain, s.Source.String()+" "+s.Name+"="+*s.Value)
			}
			got = strings.TrimSpace(*r.Configs[0].Value + " " + strings.Join(chain, ", "))
		}
		if got != tc.want {
			t.Errorf("%+v: %s is %s, want %s", tc.resource, tc.config, got, tc.want)
		}
	}
}

// TestAppendsAtTheSameTimeAllCount: none starts from what another one replaces.
func TestAppendsAtTheSameTimeAllCount(t *testing.T) {
	a, topics := newTestAdmin(t, nil)
	create(t, topics, metadata.NewTopic{Name: "t"})
	want := map[string]bool{}
	var wg sync.WaitGroup
	for i := range 10 {
		replica := string(rune('0'+i)) + ":1"
		want[replica] = true
		wg.Go(func() {
			for _, r := range []resource{{topicResource, "t"}, {clientResource, "m"}} {
				name := map[kmsg.ConfigResourceType]string{topicResource: "leader.replication.throttled.replicas", clientResource: "metrics"}[r.kind]
				if got := a.IncrementalAlterConfigs(t.Context(), client, incrementRequest(r, add(name, replica))).Resources[0]; got.ErrorCode != 0 {
					t.Error(*got.ErrorMessage)
				}
			}
		})
	}
	wg.Wait()
	for _, got := range []string{
		strings.TrimPrefix(stored(t, topics, "t"), "leader.replication.throttled.replicas="),
		strings.TrimPrefix(setOn(t, topics, resource{clientResource, "m"}), "metrics="),
	} {
		have := map[string]bool{}
		for e := range strings.SplitSeq(got, ",") {
			have[e] = true
		}
		if !maps.Equal(have, want) {
			t.Errorf("got %q, want %d elements", got, len(want))
		}
	}
}
