package group

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wadi-log/wadi/cmd/wadi/internal/args"
	"github.com/wadi-log/wadi/cmd/wadi/internal/bootstrap"
	"github.com/wadi-log/wadi/cmd/wadi/internal/flagvalue"
	"github.com/wadi-log/wadi/cmd/wadi/internal/output"
)

// goalFlags say where to; one of them is needed.
var goalFlags = []string{"to-earliest", "to-latest", "to-offset", "to-time", "by-duration", "shift-by", "to-current", "from-file"}

// resetOptions are the flags of the command.
type resetOptions struct {
	connection bootstrap.Flags
	topics     []string
	allTopics  bool
	offset     int64
	time       int64
	duration   time.Duration
	shift      int64
	file       string
	execute    bool
	force      bool
	export     bool
	format     string
}

func resetCommand() *cobra.Command {
	o := resetOptions{format: "table"}
	cmd := &cobra.Command{
		Use:   "reset GROUP",
		Short: "Move the committed offsets of a group",
		Long: `Move the committed offsets of a group. Without --execute it shows what would change, and changes nothing.

Say which partitions (--topic or --all-topics) and where to (--to-..., --by-duration or --shift-by), or give both
in a file (--from-file). An offset that a partition does not have becomes the nearest that it has. A group that does not exist
yet is made.

A group with members is left alone, unless there is --force: then its members are put out of the group, as if their
sessions had timed out, and the offsets are committed before they are back. They join again by themselves and
go on from the new offsets. A commit of what they were working on fails, which some applications end on.`,
		Example: `  wadi group reset billing --topic orders --to-earliest
  wadi group reset billing --topic orders:0,3 --shift-by -100 --execute
  wadi group reset billing --all-topics --by-duration 1h30m --execute --force
  wadi group reset billing --all-topics --to-current --export > offsets.csv
  wadi group reset billing --from-file offsets.csv --execute`,
		Args:              args.One("a group"),
		ValidArgsFunction: o.connection.CompleteGroups(1),
		RunE:              o.run,
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringArrayVarP(&o.topics, "topic", "t", nil, "`topic` to reset, or some partitions of it, as in orders:0-3,7; may be repeated")
	flags.BoolVar(&o.allTopics, "all-topics", false, "reset all topics that the group has offsets for or is subscribed to")
	flags.Bool("to-earliest", false, "to the first record")
	flags.Bool("to-latest", false, "behind the last record")
	flags.Var(flagvalue.Int64(&o.offset), "to-offset", "to this offset")
	flags.Var(flagvalue.Time(&o.time), "to-time", "to the first record of this time or later (RFC 3339 or ms)")
	flags.Var(flagvalue.Duration(&o.duration), "by-duration", "to the first record that is younger than this, as in 1h30m")
	flags.Var(flagvalue.Int64(&o.shift), "shift-by", "by this many offsets, back where negative")
	flags.Bool("to-current", false, "to where it is; for --export")
	flags.Var(flagvalue.Text(&o.file, "file"), "from-file", "to the offsets in this CSV file of topic,partition,offset; - is standard input")
	flags.BoolVar(&o.execute, "execute", false, "act, rather than show what would change")
	flags.BoolVar(&o.force, "force", false, "with members, too: put them out of the group first")
	flags.BoolVar(&o.export, "export", false, "print the new offsets as CSV, for --from-file")
	for _, name := range []string{"to-offset", "to-time", "by-duration", "shift-by"} {
		flags.Lookup(name).DefValue = "" // there is none
	}
	output.Register(cmd, &o.format, "table", "json")
	o.connection.Register(cmd)
	completeTopicFlag(cmd, &o.connection)
	return cmd
}

func (o *resetOptions) run(cmd *cobra.Command, names []string) error {
	if o.export && cmd.Flags().Changed("output") {
		return errors.New("--export prints CSV; leave out --output")
	}
	goal, err := o.goal(cmd, names[0])
	if err != nil {
		return err
	}
	chosen, err := o.selection(goal)
	if err != nil {
		return err
	}
	client, err := o.connection.Connect(cmd)
	if err != nil {
		return err
	}
	defer client.Close()
	r := &reset{client: client, name: names[0], force: o.force, note: cmd.PrintErrf}
	if err := r.look(cmd.Context()); err != nil {
		return err
	}
	positions, err := r.positions(cmd.Context(), goal, chosen)
	if err != nil {
		return err
	}
	changes, alone := plan(goal, positions)
	if len(alone) > 0 {
		cmd.PrintErrf("left alone, for want of a committed offset: %s\n", partitionsText(alone))
	}
	if n := countOutside(changes); n > 0 {
		cmd.PrintErrf("out of range, and so moved to the nearest offset that exists: %s\n", output.Plural(n, "offset"))
	}
	if len(changes) == 0 {
		return fmt.Errorf("resetting group %s: there is no offset to commit", r.name)
	}
	if !o.execute {
		if err := o.write(cmd.OutOrStdout(), r.name, changes, false); err != nil {
			return err
		}
		cmd.PrintErrln(r.advice())
		return nil
	}
	if err := r.execute(cmd.Context(), changes); err != nil {
		return err
	}
	return o.write(cmd.OutOrStdout(), r.name, changes, true)
}

// goal checks the flags that say where to.
func (o *resetOptions) goal(cmd *cobra.Command, group string) (goal, error) {
	var given []string
	for _, name := range goalFlags {
		if cmd.Flags().Changed(name) {
			given = append(given, "--"+name)
		}
	}
	choice := strings.Join(goalFlags, ", --")
	switch {
	case len(given) == 0:
		return goal{}, fmt.Errorf("say where to: one of --%s", choice)
	case len(given) > 1:
		return goal{}, fmt.Errorf("%s and %s contradict each other; choose one", given[0], given[1])
	}
	switch given[0] {
	case "--to-earliest":
		return goal{kind: toEarliest}, nil
	case "--to-latest":
		return goal{kind: toLatest}, nil
	case "--to-current":
		return goal{kind: toCurrent}, nil
	case "--to-offset":
		if o.offset < 0 {
			return goal{}, fmt.Errorf("--to-offset: %d is negative; want 0 or more, or --shift-by", o.offset)
		}
		return goal{kind: toOffset, n: o.offset}, nil
	case "--to-time":
		return goal{kind: toTime, n: o.time}, nil
	case "--by-duration":
		if o.duration < 0 {
			return goal{}, fmt.Errorf("--by-duration: %v ago lies ahead; want more than 0", o.duration)
		}
		return goal{kind: toTime, n: max(0, time.Now().Add(-o.duration).UnixMilli())}, nil // below 0 they have other meanings
	case "--shift-by":
		return goal{kind: shiftBy, n: o.shift}, nil
	}
	offsets, err := o.readFile(cmd, group)
	return goal{kind: toFile, offsets: offsets}, err
}

func (o *resetOptions) readFile(cmd *cobra.Command, group string) (map[partition]int64, error) {
	input := cmd.InOrStdin()
	if o.file != "-" {
		file, err := os.Open(o.file)
		if err != nil {
			return nil, fmt.Errorf("--from-file: %w", err)
		}
		defer func() { _ = file.Close() }() // was only read
		input = file
	}
	offsets, err := readCSV(input, group)
	if err != nil {
		return nil, fmt.Errorf("--from-file %s: %w", o.file, err)
	}
	return offsets, nil
}

// selection checks the flags that say which partitions; nil is all topics of
// the group.
func (o *resetOptions) selection(goal goal) (selection, error) {
	switch {
	case goal.kind == toFile && (o.allTopics || len(o.topics) > 0):
		return nil, errors.New("--from-file says which partitions; leave out --topic and --all-topics")
	case goal.kind == toFile:
		chosen := selection{}
		for p := range goal.offsets {
			chosen[p.topic] = append(chosen[p.topic], p.partition)
		}
		return chosen, nil
	case o.allTopics && len(o.topics) > 0:
		return nil, errors.New("--topic and --all-topics contradict each other; choose one")
	case o.allTopics:
		return nil, nil
	case len(o.topics) == 0:
		return nil, errors.New("say which topics: --topic, or --all-topics for those of the group")
	}
	return parseSelection(o.topics)
}

func countOutside(changes []change) int {
	n := 0
	for _, c := range changes {
		if c.asked != c.new {
			n++
		}
	}
	return n
}

// resetResult is `wadi group reset -o json`.
type resetResult struct {
	Group    string        `json:"group"`
	Executed bool          `json:"executed"`
	Offsets  []resetOffset `json:"offsets"`
}

type resetOffset struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	// Old is nil where nothing was committed.
	Old *int64 `json:"old"`
	New int64  `json:"new"`
	// Asked differs from New where the partition has no such offset.
	Asked int64 `json:"asked"`
}

func (o *resetOptions) write(w io.Writer, group string, changes []change, executed bool) error {
	if o.export {
		return writeCSV(w, changes)
	}
	result := resetResult{Group: group, Executed: executed}
	var rows [][]string
	for _, c := range changes {
		offset := resetOffset{Topic: c.topic, Partition: c.partition.partition, New: c.new, Asked: c.asked}
		moved := "-"
		if c.old >= 0 {
			offset.Old = &c.old
			moved = fmt.Sprintf("%+d", c.new-c.old)
		}
		note := "-"
		if c.asked != c.new {
			note = fmt.Sprintf("%d is out of range", c.asked)
		}
		result.Offsets = append(result.Offsets, offset)
		rows = append(rows, []string{
			offset.Topic, strconv.Itoa(int(offset.Partition)), orUnknown(offset.Old), strconv.FormatInt(offset.New, 10), moved, note,
		})
	}
	if o.format == "json" {
		return output.JSON(w, result)
	}
	return output.Table(w, "TOPIC PARTITION OLD NEW MOVED NOTE", rows)
}
