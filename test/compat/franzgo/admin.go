package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func produceConsume(ctx context.Context, name string) error {
	if err := createTopic(ctx, name, 1); err != nil {
		return err
	}
	client, err := newClient(kgo.ConsumeTopics(name), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer client.Close()
	sent := &kgo.Record{Topic: name, Key: []byte("key"), Value: []byte("value"), Timestamp: time.UnixMilli(time.Now().Add(-time.Hour).UnixMilli()),
		Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("1")}}}
	tombstone := &kgo.Record{Topic: name, Key: []byte("tombstone")}
	if err := client.ProduceSync(ctx, sent, tombstone).FirstErr(); err != nil {
		return err
	}
	got, err := read(ctx, client, 2)
	if err != nil {
		return err
	}
	first, second := got[0], got[1]
	if string(first.Key) != "key" || string(first.Value) != "value" || len(first.Headers) != 1 || !first.Timestamp.Equal(sent.Timestamp) {
		return fmt.Errorf("first record: %+v", first)
	}
	if string(second.Key) != "tombstone" || second.Value != nil || second.Offset != 1 {
		return fmt.Errorf("second record: %+v", second)
	}
	return nil
}

// readAll wants the topic to hold exactly the values.
func readAll(ctx context.Context, topic string, values []string) error {
	client, err := newClient(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer client.Close()
	got, err := read(ctx, client, len(values))
	if err != nil {
		return err
	}
	var read []string
	for _, r := range got {
		read = append(read, string(r.Value))
	}
	slices.Sort(read)
	values = slices.Sorted(slices.Values(values))
	if !slices.Equal(read, values) {
		return fmt.Errorf("read %q, want %q", read, values)
	}
	return nil
}

func codecs(ctx context.Context, name string) error {
	if err := createTopic(ctx, name, partitions); err != nil {
		return err
	}
	var all []string
	for i, codec := range []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()} {
		var values []string
		for _, n := range numbers(100) {
			values = append(values, fmt.Sprint(i, n, " a value that compresses well, well, well"))
		}
		if err := produce(ctx, name, partitions, values, kgo.ProducerBatchCompression(codec)); err != nil {
			return err
		}
		all = append(all, values...)
	}
	return readAll(ctx, name, all)
}

// franz-go's producer is idempotent unless one says otherwise.
func idempotence(ctx context.Context, name string) error {
	if err := createTopic(ctx, name, partitions); err != nil {
		return err
	}
	if err := produce(ctx, name, partitions, numbers(2000), kgo.MaxBufferedRecords(50)); err != nil {
		return err
	}
	return readAll(ctx, name, numbers(2000))
}

func pauseSeek(ctx context.Context, name string) error {
	if err := createTopic(ctx, name, 1); err != nil {
		return err
	}
	if err := produce(ctx, name, 1, numbers(20)); err != nil {
		return err
	}
	client, err := newClient(kgo.ConsumeTopics(name), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer client.Close()
	if _, err := read(ctx, client, 20); err != nil {
		return err
	}
	client.SetOffsets(map[string]map[int32]kgo.EpochOffset{name: {0: {Epoch: -1, Offset: 15}}})
	got, err := read(ctx, client, 5)
	if err != nil {
		return err
	}
	if got[0].Offset != 15 {
		return fmt.Errorf("offset %d after the seek, want 15", got[0].Offset)
	}
	client.PauseFetchTopics(name)
	if err := produce(ctx, name, 1, []string{"while paused"}); err != nil {
		return err
	}
	pause, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if polled := client.PollFetches(pause).NumRecords(); polled > 0 {
		return fmt.Errorf("polled %d records while paused", polled)
	}
	client.ResumeFetchTopics(name)
	_, err = read(ctx, client, 1)
	return err
}

func topics(ctx context.Context, name string) error {
	return asAdmin(func(admin *kadm.Client) error {
		if _, err := admin.CreateTopic(ctx, 2, -1, nil, name); err != nil {
			return err
		}
		if resp, err := admin.UpdatePartitions(ctx, 4, name); err != nil || resp.Error() != nil {
			return fmt.Errorf("add partitions: %w, %w", err, resp.Error())
		}
		if err := eventually(ctx, "4 partitions", func() (bool, error) {
			details, err := admin.ListTopics(ctx, name)
			return len(details[name].Partitions) == 4, err
		}); err != nil {
			return err
		}
		if _, err := admin.DeleteTopic(ctx, name); err != nil {
			return err
		}
		return eventually(ctx, "the topic is gone", func() (bool, error) {
			details, err := admin.ListTopics(ctx)
			return !details.Has(name), err
		})
	})
}

func configs(ctx context.Context, name string) error {
	return asAdmin(func(admin *kadm.Client) error {
		value := "3600000"
		if _, err := admin.CreateTopic(ctx, 1, -1, map[string]*string{"retention.ms": &value}, name); err != nil {
			return err
		}
		is := func(want string) error {
			return eventually(ctx, "retention.ms is "+want, func() (bool, error) {
				described, err := admin.DescribeTopicConfigs(ctx, name)
				if err != nil {
					return false, err
				}
				i := slices.IndexFunc(described[0].Configs, func(c kadm.Config) bool { return c.Key == "retention.ms" })
				return i >= 0 && described[0].Configs[i].MaybeValue() == want, nil
			})
		}
		alter := func(alteration kadm.AlterConfig) error {
			answer, err := admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{alteration}, name)
			if err != nil {
				return err
			}
			return answer[0].Err
		}
		if err := is(value); err != nil {
			return err
		}
		other := "7200000"
		if err := alter(kadm.AlterConfig{Op: kadm.SetConfig, Name: "retention.ms", Value: &other}); err != nil {
			return err
		}
		if err := is(other); err != nil {
			return err
		}
		if err := alter(kadm.AlterConfig{Op: kadm.DeleteConfig, Name: "retention.ms"}); err != nil {
			return err
		}
		return is("604800000")
	})
}

func records(ctx context.Context, name string) error {
	if err := createTopic(ctx, name, 1); err != nil {
		return err
	}
	if err := produce(ctx, name, 1, numbers(10)); err != nil {
		return err
	}
	return asAdmin(func(admin *kadm.Client) error {
		before := kadm.Offsets{}
		before.AddOffset(name, 0, 4, -1)
		if deleted, err := admin.DeleteRecords(ctx, before); err != nil || deleted.Error() != nil {
			return fmt.Errorf("delete records: %w, %w", err, deleted.Error())
		}
		first, err := admin.ListStartOffsets(ctx, name)
		if err != nil {
			return err
		}
		last, err := admin.ListEndOffsets(ctx, name)
		if err != nil {
			return err
		}
		start, _ := first.Lookup(name, 0)
		end, _ := last.Lookup(name, 0)
		if start.Offset != 4 || end.Offset != 10 {
			return fmt.Errorf("offsets %d to %d, want 4 to 10", start.Offset, end.Offset)
		}
		return nil
	})
}

func groups(ctx context.Context, name string) error {
	if err := createTopic(ctx, name, partitions); err != nil {
		return err
	}
	m, err := join(name, name)
	if err != nil {
		return err
	}
	defer m.close()
	return asAdmin(func(admin *kadm.Client) error {
		in := func(state string) error {
			return eventually(ctx, "the group is "+state, func() (bool, error) {
				described, err := admin.DescribeGroups(ctx, name)
				return described[name].State == state, err
			})
		}
		if err := in("Stable"); err != nil {
			return err
		}
		m.close()
		if err := in("Empty"); err != nil {
			return err
		}
		listed, err := admin.ListGroups(ctx, "Empty")
		if err != nil || !slices.Contains(listed.Groups(), name) {
			return fmt.Errorf("empty groups are %q, %w", listed.Groups(), err)
		}
		if _, err := admin.DeleteGroup(ctx, name); err != nil {
			return err
		}
		listed, err = admin.ListGroups(ctx)
		if err != nil || slices.Contains(listed.Groups(), name) {
			return fmt.Errorf("groups after the deletion: %q, %w", listed.Groups(), err)
		}
		return nil
	})
}

func offsets(ctx context.Context, name string) error {
	if err := createTopic(ctx, name, 1); err != nil {
		return err
	}
	if err := produce(ctx, name, 1, numbers(10)); err != nil {
		return err
	}
	return asAdmin(func(admin *kadm.Client) error {
		wanted := kadm.Offsets{}
		wanted.Add(kadm.Offset{Topic: name, At: 7, LeaderEpoch: -1, Metadata: "seven"})
		if err := admin.CommitAllOffsets(ctx, name, wanted); err != nil {
			return err
		}
		fetched, err := admin.FetchOffsets(ctx, name)
		if err != nil {
			return err
		}
		if o, _ := fetched.Lookup(name, 0); o.At != 7 || o.Metadata != "seven" {
			return fmt.Errorf("committed %+v, want 7 with seven", o)
		}
		deletion := kadm.TopicsSet{}
		deletion.Add(name, 0)
		if deleted, err := admin.DeleteOffsets(ctx, name, deletion); err != nil || deleted.Error() != nil {
			return fmt.Errorf("delete offsets: %w, %w", err, deleted.Error())
		}
		return nil
	})
}
