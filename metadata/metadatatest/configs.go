package metadatatest

import (
	"errors"
	"maps"
	"reflect"

	"github.com/wadi-log/wadi/metadata"
)

var configTests = []test{
	{"EachResourceHasItsOwn", eachResourceHasItsOwn},
	{"ChangesAreNumbered", configChangesAreNumbered},
	{"RefusedEditChangesNothing", refusedEditChangesNothing},
}

// setTo is an edit that replaces everything.
func setTo(set map[string]string) metadata.ConfigEdit {
	return func(map[string]string) (map[string]string, error) { return maps.Clone(set), nil }
}

func (f *fixture) alterConfigs(r metadata.ConfigResource, set map[string]string) int64 {
	f.Helper()
	got, seq, err := f.store.AlterConfigs(f.ctx, r, setTo(set))
	f.must(err)
	if !maps.Equal(got, set) {
		f.Fatalf("%+v has %v, want %v", r, got, set)
	}
	return seq
}

func eachResourceHasItsOwn(f *fixture) {
	all := map[metadata.ConfigResource]map[string]string{
		{Kind: metadata.BrokerConfig}:                           {"log.retention.ms": "1"},
		{Kind: metadata.BrokerConfig, Name: "1"}:                {"log.retention.ms": "2", "x": `"'\\é` + "\n"},
		{Kind: metadata.BrokerLoggerConfig, Name: "1"}:          {"root": "DEBUG"},
		{Kind: metadata.ClientMetricsConfig, Name: "1"}:         {"metrics": ""},
		{Kind: metadata.FeatureConfig}:                          {"epoch": "1"},
		{Kind: metadata.GroupConfig, Name: "1"}:                 {"a": "1"},
		{Kind: metadata.GroupConfig, Name: "\x00\xff no text"}:  {"a": "2"},
		{Kind: metadata.GroupConfig, Name: "\x00\xff no text "}: {"a": "3"},
	}
	for r, set := range all {
		f.alterConfigs(r, set)
	}
	other := f.db.Open(f)
	got, seq, err := other.ListConfigs(f.ctx)
	f.must(err)
	if !reflect.DeepEqual(got, all) || seq != int64(len(all)) {
		f.Fatalf("as of %d: %+v, want %+v", seq, got, all)
	}
	some := map[metadata.ConfigResource]map[string]string{}
	asked := []metadata.ConfigResource{{Kind: metadata.GroupConfig, Name: "nonesuch"}}
	for r, set := range all {
		if r.Kind == metadata.GroupConfig || r.Name == "" {
			some[r] = set
			asked = append(asked, r)
		}
	}
	got, seq, err = other.ConfigsOf(f.ctx, asked)
	f.must(err)
	if !reflect.DeepEqual(got, some) || seq != int64(len(all)) {
		f.Fatalf("as of %d: %+v, want %+v", seq, got, some)
	}
	got, seq, err = other.ConfigsOf(f.ctx, nil)
	if err != nil || len(got) != 0 || seq != int64(len(all)) {
		f.Fatalf("asked for none, as of %d: %+v, %v", seq, got, err)
	}
	// A resource on which nothing is set is none.
	for r := range all {
		f.alterConfigs(r, map[string]string{})
	}
	got, _, err = other.ListConfigs(f.ctx)
	if err != nil || len(got) != 0 {
		f.Fatalf("got %+v, %v", got, err)
	}
}

func configChangesAreNumbered(f *fixture) {
	set, seq, err := f.store.ListConfigs(f.ctx)
	if err != nil || len(set) != 0 || seq != 0 {
		f.Fatalf("empty store: %+v, %d, %v", set, seq, err)
	}
	f.topic("t", 1)
	group := metadata.ConfigResource{Kind: metadata.GroupConfig, Name: "g"}
	broker := metadata.ConfigResource{Kind: metadata.BrokerConfig}
	for i, step := range []struct {
		r    metadata.ConfigResource
		set  map[string]string
		want int64
	}{
		{group, map[string]string{}, 1}, // there was nothing: no commit
		{group, map[string]string{"a": "1"}, 2},
		{group, map[string]string{"a": "1"}, 2},
		{broker, map[string]string{"a": "1"}, 3},
		{group, map[string]string{"a": "2"}, 4},
		{group, map[string]string{}, 5},
		{group, nil, 5},
	} {
		if got := f.alterConfigs(step.r, step.set); got != step.want {
			f.Errorf("step %d has number %d, want %d", i, got, step.want)
		}
	}
	var changed []metadata.ConfigResource
	for _, c := range f.feed(1) {
		if len(c.Topics)+len(c.Runs) != 0 {
			f.Errorf("entry %+v", c)
		}
		changed = append(changed, c.Configs...)
	}
	if want := []metadata.ConfigResource{group, broker, group, group}; !reflect.DeepEqual(changed, want) {
		f.Errorf("the feed tells of %+v, want %+v", changed, want)
	}
}

func refusedEditChangesNothing(f *fixture) {
	r := metadata.ConfigResource{Kind: metadata.BrokerConfig, Name: "1"}
	f.alterConfigs(r, map[string]string{"a": "1"})
	refusal := errors.New("no")
	_, _, err := f.store.AlterConfigs(f.ctx, r, func(now map[string]string) (map[string]string, error) {
		now["a"] = "2"
		return now, refusal
	})
	f.wantErr(err, refusal)
	set, seq, err := f.store.ListConfigs(f.ctx)
	f.must(err)
	if want := map[metadata.ConfigResource]map[string]string{r: {"a": "1"}}; !reflect.DeepEqual(set, want) || seq != 1 {
		f.Fatalf("as of %d: %+v, want %+v", seq, set, want)
	}
}
