package group

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// readCSV reads offsets as `wadi group reset --export` and Kafka's own tool
// write them: topic,partition,offset on each line, or group,topic,partition,offset, of
// which only the lines of the group count.
func readCSV(r io.Reader, group string) (map[partition]int64, error) {
	lines := csv.NewReader(r)
	lines.TrimLeadingSpace = true
	lines.ReuseRecord = true
	offsets := map[partition]int64{}
	for {
		fields, err := lines.Read() // all lines have as many fields as the first
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err // says which line
		}
		line, _ := lines.FieldPos(0)
		switch {
		case len(fields) == 4 && fields[0] != group:
			continue
		case len(fields) == 4:
			fields = fields[1:]
		case len(fields) != 3:
			return nil, fmt.Errorf("line %d: want topic,partition,offset, or group,topic,partition,offset", line)
		}
		n, err := strconv.ParseInt(fields[1], 10, 32)
		if err != nil || n < 0 || fields[0] == "" {
			return nil, fmt.Errorf("line %d: %s,%s is no topic and partition", line, fields[0], fields[1])
		}
		offset, err := strconv.ParseInt(fields[2], 10, 64)
		if err != nil || offset < 0 {
			return nil, fmt.Errorf("line %d: %q is no offset", line, fields[2])
		}
		p := partition{fields[0], int32(n)}
		if _, twice := offsets[p]; twice {
			return nil, fmt.Errorf("line %d: %s partition %d is there twice", line, p.topic, p.partition)
		}
		offsets[p] = offset
	}
	if len(offsets) == 0 {
		return nil, fmt.Errorf("has no offset of group %s", group)
	}
	return offsets, nil
}

// writeCSV writes what readCSV reads, in the form of one group.
func writeCSV(w io.Writer, changes []change) error {
	lines := csv.NewWriter(w)
	for _, c := range changes {
		err := lines.Write([]string{c.topic, strconv.Itoa(int(c.partition.partition)), strconv.FormatInt(c.new, 10)})
		if err != nil {
			return err
		}
	}
	lines.Flush()
	return lines.Error()
}
