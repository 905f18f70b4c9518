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

	offsetCommitShape = shape{
		str, int32s.since(1), str.since(1), str.since(7), int64s.since(2).until(4),
		array(str.until(9), uuid.since(10), array(int32s, int64s, int64s.since(1).until(1), int32s.since(6), str)),
	}

	offsetFetchShape = shape{
		str.until(7), array(str, listOf(int32s)).until(7),
		array(str, str.since(9), int32s.since(9), array(str.until(9), uuid.since(10), listOf(int32s))).since(8),
		int8s.since(7),
	}

	findCoordinatorShape = shape{str.until(3), int8s.since(1), listOf(str).since(4)}

	joinGroupShape = shape{
		str, int32s, int32s.since(1), str, str.since(5), str, array(str, blob), str.since(8),
	}

	heartbeatShape = shape{str, int32s, str, str.since(3)}

	leaveGroupShape = shape{str, str.until(2), array(str, str, str.since(5)).since(3)}

	syncGroupShape = shape{str, int32s, str, str.since(3), str.since(5), str.since(5), array(str, blob)}

	describeGroupsShape = shape{listOf(str), int8s.since(3)}

	listGroupsShape = shape{listOf(str).since(4), listOf(str).since(5)}

	apiVersionsShape = shape{str.since(3), str.since(3), str.since(5), int32s.since(5)}

	createTopicsShape = shape{
		array(str, int32s, int16s, array(int32s, listOf(int32s)), array(str, str)),
		int32s, int8s.since(1),
	}

	deleteTopicsShape = shape{listOf(str).until(5), array(str, uuid).since(6), int32s}

	deleteRecordsShape = shape{array(str, array(int32s, int64s)), int32s}

	initProducerIDShape = shape{str, int32s, int64s.since(3), int16s.since(3)}

	offsetForLeaderEpochShape = shape{
		int32s.since(3),
		array(str, array(int32s, int32s.since(2), int32s)),
	}

	addPartitionsToTxnShape = shape{
		str.until(3), int64s.until(3), int16s.until(3), array(str, listOf(int32s)).until(3),
		array(str, int64s, int16s, int8s, array(str, listOf(int32s))).since(4),
	}

	addOffsetsToTxnShape = shape{str, int64s, int16s, str}

	endTxnShape = shape{str, int64s, int16s, int8s}

	txnOffsetCommitShape = shape{
		str, str, int64s, int16s, int32s.since(3), str.since(3), str.since(3),
		array(str, array(int32s, int64s, int32s.since(2), str)),
	}

	describeConfigsShape = shape{
		array(int8s, str, listOf(str)),
		int8s.since(1), int8s.since(3),
	}

	alterConfigsShape = shape{array(int8s, str, array(str, str)), int8s}

	describeLogDirsShape = shape{array(str, listOf(int32s))}

	createPartitionsShape = shape{array(str, int32s, array(listOf(int32s))), int32s, int8s}

	deleteGroupsShape = shape{listOf(str)}

	incrementalAlterConfigsShape = shape{array(int8s, str, array(str, int8s, str)), int8s}

	offsetDeleteShape = shape{str, array(str, array(int32s))}

	consumerGroupHeartbeatShape = shape{
		str, str, int32s, str, str, int32s, listOf(str), str.since(1), str, array(uuid, listOf(int32s)),
	}

	consumerGroupDescribeShape = shape{listOf(str), int8s}

	describeClusterShape = shape{int8s, int8s.since(1), int8s.since(2)}

	describeProducersShape = shape{array(str, listOf(int32s))}

	describeTransactionsShape = shape{listOf(str)}

	listTransactionsShape = shape{listOf(str), listOf(int64s), int64s.since(1), str.since(2)}

	describeTopicPartitionsShape = shape{array(str), int32s, optional(str, int32s)}

	describeACLsShape = shape{int8s, str, int8s.since(1), str, str, int8s, int8s}

	createACLsShape = shape{array(int8s, str, int8s.since(1), str, str, int8s, int8s)}

	deleteACLsShape = shape{array(int8s, str, int8s.since(1), str, str, int8s, int8s)}

	electLeadersShape = shape{int8s.since(1), array(str, listOf(int32s)), int32s}

	alterPartitionReassignmentsShape = shape{int32s, int8s.since(1), array(str, array(int32s, listOf(int32s)))}

	listPartitionReassignmentsShape = shape{int32s, array(str, listOf(int32s))}

	describeClientQuotasShape = shape{array(str, int8s, str), int8s}

	describeQuorumShape = shape{array(str, array(int32s))}

	updateFeaturesShape = shape{int32s, array(str, int16s, int8s.until(0), int8s.since(1)), int8s.since(1)}

	getTelemetrySubscriptionsShape = shape{uuid}

	pushTelemetryShape = shape{uuid, int32s, int8s, int8s, blob}

	listConfigResourcesShape = shape{listOf(int8s).since(1)}
)
