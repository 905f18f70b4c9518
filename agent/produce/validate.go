package produce

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/agent/errcode"
	"github.com/wadi-log/wadi/protocol"
	"github.com/wadi-log/wadi/protocol/configs"
)

// refusal is why a partition's records are not accepted, in Kafka's terms.
type refusal struct {
	code    int16
	message string
	// records names the records at fault, where single ones are (KIP-467).
	records []kmsg.ProduceResponseTopicPartitionErrorRecord
}

func refuse(err *kerr.Error, format string, args ...any) *refusal {
	return &refusal{code: err.Code, message: fmt.Sprintf(format, args...)}
}

// decompressLimit bounds what a batch may decompress to where we have to look
// at its records: the topic's limit on compressed batches says nothing of it.
const decompressLimit = 128 << 20

// minRecordBytes is the size of a record with nothing in it. A compressed
// batch's record count is believed, but not beyond what decompressLimit could hold.
const minRecordBytes = 7

// validate checks one partition's records against the protocol and the topic's
// rules, and returns the batch to store: the producer's own bytes, except that
// LogAppendTime stamps them and a compression.type of the topic recompresses.
// It decompresses only where a rule needs the records themselves.
func validate(records []byte, version int16, topic configs.Topic, now time.Time) (protocol.Batch, *refusal) {
	if len(records) == 0 {
		return nil, refuse(kerr.InvalidRecord, "a produce request must have one record batch per partition")
	}
	batch, rest, err := protocol.NextBatch(records)
	if err != nil {
		return nil, &refusal{code: errcode.Of(err), message: err.Error()}
	}
	if len(rest) > 0 {
		return nil, refuse(kerr.InvalidRecord, "a produce request must have exactly one record batch per partition; %d bytes follow the first", len(rest))
	}
	if len(batch) > int(topic.MaxMessageBytes) {
		return nil, refuse(kerr.MessageTooLarge, "the batch has %d bytes, max.message.bytes is %d", len(batch), topic.MaxMessageBytes)
	}
	if err := batch.Validate(); err != nil {
		return nil, &refusal{code: errcode.Of(err), message: err.Error()}
	}
	// Some clients never set the largest timestamp (old Sarama); Kafka mends it too.
	if _, err := batch.RepairMaxTimestamp(decompressLimit); err != nil {
		return nil, &refusal{code: errcode.Of(err), message: err.Error()}
	}
	switch {
	case int64(batch.NumRecords())*minRecordBytes > decompressLimit:
		return nil, refuse(kerr.InvalidRecord, "the batch claims %d records, more than would decompress to %d bytes", batch.NumRecords(), decompressLimit)
	case batch.IsControl():
		return nil, refuse(kerr.InvalidRecord, "clients are not allowed to write control batches")
	case batch.IsTransactional() && batch.ProducerID() < 0:
		return nil, refuse(kerr.InvalidRecord, "a transactional batch needs a producer ID")
	case version < 7 && batch.Codec() == protocol.CodecZstd:
		return nil, refuse(kerr.UnsupportedCompressionType, "zstd needs Produce version 7 (KIP-110), this is version %d", version)
	}
	if r := checkRecords(batch, topic, now); r != nil {
		return nil, r
	}
	return rewrite(batch, topic, now)
}

// checkRecords checks what the topic's configs ask of single records.
func checkRecords(batch protocol.Batch, topic configs.Topic, now time.Time) *refusal {
	earliest, latest := int64(0), int64(0)
	bounded := !topic.LogAppendTime && (topic.TimestampBeforeMaxMs != configs.Unlimited || topic.TimestampAfterMaxMs != configs.Unlimited)
	if bounded {
		earliest, latest = topic.TimestampBounds(now.UnixMilli())
		// The header tells the largest timestamp, and with no limit backwards
		// that is all there is to check.
		if topic.TimestampBeforeMaxMs == configs.Unlimited {
			bounded = batch.MaxTimestamp() > latest || batch.BaseTimestamp() > latest
		}
	}
	if !bounded && !topic.CleanupCompact {
		return nil
	}
	var faults []kmsg.ProduceResponseTopicPartitionErrorRecord
	fault := func(i int32, format string, args ...any) {
		e := kmsg.NewProduceResponseTopicPartitionErrorRecord()
		message := fmt.Sprintf(format, args...)
		e.RelativeOffset, e.ErrorMessage = i, &message
		faults = append(faults, e)
	}
	code, message := int16(0), ""
	i := int32(0)
	for record, err := range batch.Records(decompressLimit) {
		if err != nil {
			return &refusal{code: errcode.Of(err), message: err.Error()}
		}
		switch {
		case topic.CleanupCompact && record.Key == nil:
			code, message = kerr.InvalidRecord.Code, "compacted topics need a key on every record"
			fault(i, "a record of a compacted topic needs a key")
		case bounded && (record.Timestamp < earliest || record.Timestamp > latest):
			code, message = kerr.InvalidTimestamp.Code, "a timestamp is out of the bounds of message.timestamp.before.max.ms and message.timestamp.after.max.ms"
			fault(i, "timestamp %d is not from %d to %d", record.Timestamp, earliest, latest)
		}
		i++
	}
	if code == 0 {
		return nil
	}
	return &refusal{code: code, message: message, records: faults}
}

// rewrite applies compression.type and message.timestamp.type.
func rewrite(batch protocol.Batch, topic configs.Topic, now time.Time) (protocol.Batch, *refusal) {
	if want, recompress := topic.Codec(); recompress && protocol.Codec(want) != batch.Codec() {
		again, err := protocol.Recompress(batch, protocol.Codec(want), topic.CompressionLevel, decompressLimit)
		if err != nil {
			return nil, &refusal{code: errcode.Of(err), message: err.Error()}
		}
		if len(again) > int(topic.MaxMessageBytes) {
			return nil, refuse(kerr.MessageTooLarge, "the batch has %d bytes in the topic's compression.type (%s), max.message.bytes is %d",
				len(again), topic.CompressionType, topic.MaxMessageBytes)
		}
		batch = again
	}
	if topic.LogAppendTime {
		batch.SetLogAppendTime(now.UnixMilli())
	} else if batch.LogAppendTime() {
		return nil, refuse(kerr.InvalidTimestamp, "a producer must not claim LogAppendTime; the topic's message.timestamp.type is CreateTime")
	}
	return batch, nil
}
