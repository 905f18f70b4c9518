package protocol

// The shapes of request bodies, from Kafka's message definitions: all versions
// from 0 on, also those that are refused, as far as kmsg can decode them. A
// test builds requests of every version and holds the shapes against kmsg.
var (
	produceShape = shape{
		str.since(3), int16s, int32s,
		array(str.until(12), uuid.since(13), array(int32s, blob)),
	}

	fetchShape = shape{
		int32s.until(14), int32s, int32s, int32s.since(3), int8s.since(4), int32s.since(7), int32s.since(7),
		array(str.until(12), uuid.since(13), array(
			int32s, int32s.since(9), int64s, int32s.since(12), int64s.since(5), int32s,
			tag(0, uuid), tag(1, int64s),
		)),
		array(str.until(12), uuid.since(13), listOf(int32s)).since(7),
		str.since(11),
		tag(0, str), tag(1, structure(int32s, int64s)),
	}

	listOffsetsShape = shape{
		int32s, int8s.since(2),
		array(str, array(int32s, int32s.since(4), int64s, int32s.until(0))),
		int32s.since(10),
	}

	metadataShape = shape{
		array(uuid.since(10), str),
		int8s.since(4), int8s.since(8).until(10), int8s.since(8),
	}

	findCoordinatorShape = shape{str.until(3), int8s.since(1), listOf(str).since(4)}

	apiVersionsShape = shape{str.since(3), str.since(3), str.since(5), int32s.since(5)}

	createTopicsShape = shape{
		array(str, int32s, int16s, array(int32s, listOf(int32s)), array(str, str)),
		int32s, int8s.since(1),
	}

	deleteTopicsShape = shape{listOf(str).until(5), array(str, uuid).since(6), int32s}

	initProducerIDShape = shape{str, int32s, int64s.since(3), int16s.since(3)}

	offsetForLeaderEpochShape = shape{
		int32s.since(3),
		array(str, array(int32s, int32s.since(2), int32s)),
	}

	describeConfigsShape = shape{
		array(int8s, str, listOf(str)),
		int8s.since(1), int8s.since(3),
	}

	alterConfigsShape = shape{array(int8s, str, array(str, str)), int8s}

	createPartitionsShape = shape{array(str, int32s, array(listOf(int32s))), int32s, int8s}

	incrementalAlterConfigsShape = shape{array(int8s, str, array(str, int8s, str)), int8s}

	describeClusterShape = shape{int8s, int8s.since(1), int8s.since(2)}

	describeTopicPartitionsShape = shape{array(str), int32s, optional(str, int32s)}
)
