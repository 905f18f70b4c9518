// Package produce is `wadi produce`: it reads records from standard input or a
// file, one a line, and produces them to a topic of any Kafka cluster.
//
// It exits with 0 only when every record was acknowledged. At the first failure
// it stops reading, waits for the records under way, and says how many
// failed and where the first one was.
package produce

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/wadi-log/wadi/cmd/wadi/internal/args"
	"github.com/wadi-log/wadi/cmd/wadi/internal/bootstrap"
	"github.com/wadi-log/wadi/cmd/wadi/internal/escape"
	"github.com/wadi-log/wadi/cmd/wadi/internal/flagvalue"
)

// options are the flags of the command.
type options struct {
	connection   bootstrap.Flags
	file         string
	format       string
	keySeparator string
	nullMarker   string
	headers      []string
	partition    int32
	compression  string
	acks         string
	idempotent   bool
	batchBytes   int64
	quiet        bool
}

// Command returns `wadi produce`.
func Command() *cobra.Command {
	o := options{format: "lines", compression: "none", acks: "all", batchBytes: 1 << 20, partition: -1}
	cmd := &cobra.Command{
		Use:   "produce TOPIC",
		Short: "Produce records from standard input or a file",
		Long: `Produce records, one a line, from standard input or a file. A record goes to the partition of its
key, chosen as Kafka's own clients do. A topic that does not exist is created where the cluster allows it.`,
		Example: `  echo hello | wadi produce greetings
  wadi produce flights --file flights.tsv --key-separator '\t'
  wadi consume orders --format json | wadi produce copy --format json`,
		Args:              args.One("a topic"),
		ValidArgsFunction: o.connection.CompleteTopics(1),
		RunE:              func(cmd *cobra.Command, topics []string) error { return o.run(cmd, topics[0]) },
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.VarP(flagvalue.Text(&o.file, "file"), "file", "f", "read from this file instead of standard input")
	flags.Var(flagvalue.OneOf(&o.format, "lines", "json"), "format", "format of the input; json is what consume --format json writes")
	flags.VarP(flagvalue.Text(&o.keySeparator, "text"), "key-separator", "k", `text between key and value, as in '\t'; without it, lines are values`)
	flags.Var(flagvalue.Text(&o.nullMarker, "text"), "null-marker", "key or value that stands for null")
	flags.StringArrayVarP(&o.headers, "header", "H", nil, "header `name=value` for every record; may be repeated")
	flags.VarPF(flagvalue.Int32(&o.partition), "partition", "p", "partition to produce to (default: that of the key)").DefValue = ""
	flags.VarP(flagvalue.OneOf(&o.compression, "none", "gzip", "snappy", "lz4", "zstd"), "compression", "z", "compression of batches")
	flags.Var(flagvalue.OneOf(&o.acks, "all", "1", "0"), "acks", "acknowledgements to wait for")
	flags.BoolVar(&o.idempotent, "idempotent", true, "never duplicate by retries; needs --acks all")
	flags.Var(flagvalue.Size(&o.batchBytes), "batch-bytes", "largest batch, and so the largest record")
	flags.BoolVarP(&o.quiet, "quiet", "q", false, "no progress and no summary")
	o.connection.Register(cmd)
	return cmd
}

func (o *options) run(cmd *cobra.Command, topic string) error {
	kafka, err := o.kafkaOptions(cmd)
	if err != nil {
		return err
	}
	parse, err := o.parser(cmd)
	if err != nil {
		return err
	}
	headers, err := parseHeaders(o.headers)
	if err != nil {
		return err
	}
	source := cmd.InOrStdin()
	if o.file != "" {
		file, err := os.Open(o.file)
		if err != nil {
			return fmt.Errorf("--file: %w", err)
		}
		defer func() { _ = file.Close() }() // only read from: nothing can be lost
		source = file
	}
	client, err := o.connection.Connect(cmd, kafka...)
	if err != nil {
		return err
	}
	defer client.Close()

	d := newDelivery()
	bar := newProgress(cmd.ErrOrStderr(), source, d.counts, o.quiet)
	prepare := func(r *kgo.Record) {
		r.Topic, r.Partition = topic, o.partition
		r.Headers = append(r.Headers, headers...)
	}
	err = d.run(cmd.Context(), client, newInput(source, o.maxLine(), parse), prepare, bar.update)
	bar.finish()
	if err != nil {
		return fmt.Errorf("producing to %s: %w", topic, err)
	}
	if !o.quiet {
		cmd.PrintErrln(bar.summary(topic))
	}
	return nil
}

// kafkaOptions checks the flags that go to the Kafka client.
func (o *options) kafkaOptions(cmd *cobra.Command) ([]kgo.Opt, error) {
	if o.batchBytes < 1<<10 || o.batchBytes > 64<<20 {
		return nil, fmt.Errorf("--batch-bytes: %d is out of range; want 1KiB to 64MiB", o.batchBytes)
	}
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	acks := map[string]kgo.Acks{"all": kgo.AllISRAcks(), "1": kgo.LeaderAck(), "0": kgo.NoAck()}
	kafka := []kgo.Opt{
		kgo.RequiredAcks(acks[o.acks]),
		kgo.ProducerBatchCompression(codecs[o.compression]),
		kgo.ProducerBatchMaxBytes(int32(o.batchBytes)),
		kgo.MaxBufferedBytes(int(max(64<<20, 2*o.batchBytes))),
		kgo.AllowAutoTopicCreation(),
		kgo.RecordDeliveryTimeout(max(o.connection.Timeout, time.Second)), // kgo allows no less
		// The process ends after a timeout, so no later record of this producer
		// can be written behind the hole; without this, it would wait for ever.
		kgo.AllowIdempotentProduceCancellation(),
	}
	if o.acks != "all" && o.idempotent {
		if cmd.Flags().Changed("idempotent") {
			return nil, errors.New("--idempotent needs --acks all; leave one of them out")
		}
		o.idempotent = false
	}
	if !o.idempotent {
		kafka = append(kafka, kgo.DisableIdempotentWrite())
	}
	if cmd.Flags().Changed("partition") {
		if o.partition < 0 {
			return nil, fmt.Errorf("--partition: %d is negative; want 0 or more", o.partition)
		}
		kafka = append(kafka, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	}
	return kafka, nil
}

// parser returns what makes records of lines.
func (o *options) parser(cmd *cobra.Command) (func([]byte) (*kgo.Record, error), error) {
	if o.format == "json" {
		for _, name := range []string{"key-separator", "null-marker"} {
			if cmd.Flags().Changed(name) {
				return nil, fmt.Errorf("--%s is for --format lines; JSON has keys and null of its own", name)
			}
		}
		return jsonParser, nil
	}
	separator, err := escape.Unescape(o.keySeparator)
	if err != nil {
		return nil, fmt.Errorf("--key-separator: %w", err)
	}
	if separator == "" && cmd.Flags().Changed("key-separator") {
		return nil, errors.New("--key-separator: is empty; leave it out for records without keys")
	}
	lines := lineParser{separator: separator}
	if cmd.Flags().Changed("null-marker") {
		lines.null = &o.nullMarker
	}
	return lines.parse, nil
}

// maxLine leaves room for the base64 and the field names of JSON.
func (o *options) maxLine() int {
	if o.format == "json" {
		return int(2*o.batchBytes) + 64<<10
	}
	return int(o.batchBytes)
}

func parseHeaders(texts []string) ([]kgo.RecordHeader, error) {
	var headers []kgo.RecordHeader
	for _, text := range texts {
		key, value, found := strings.Cut(text, "=")
		if !found {
			return nil, fmt.Errorf("--header: %q is no name=value", text)
		}
		headers = append(headers, kgo.RecordHeader{Key: key, Value: []byte(value)})
	}
	return headers, nil
}
