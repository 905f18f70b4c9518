package group

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/wadi-log/wadi/cmd/wadi/internal/args"
	"github.com/wadi-log/wadi/cmd/wadi/internal/bootstrap"
	"github.com/wadi-log/wadi/cmd/wadi/internal/output"
	"github.com/wadi-log/wadi/cmd/wadi/internal/terminal"
)

func deleteCommand() *cobra.Command {
	var (
		connection   bootstrap.Flags
		offsets, yes bool
		topics       []string
	)
	cmd := &cobra.Command{
		Use:   "delete GROUP...",
		Short: "Delete groups, or their offsets of some topics",
		Long: `Delete groups with all their offsets, or only the offsets of some topics. A group that has members can't be
deleted, nor can the offsets of a topic that it reads.`,
		Example: `  wadi group delete billing
  wadi group delete billing audit --yes
  wadi group delete billing --offsets --topic orders --topic payments:0,3`,
		Args:              args.Some("a group"),
		ValidArgsFunction: connection.CompleteGroups(0),
		RunE: func(cmd *cobra.Command, names []string) error {
			names = args.Unique(names)
			chosen, err := parseSelection(topics)
			switch {
			case err != nil:
				return err
			case offsets && len(topics) == 0:
				return errors.New("--offsets: say of which topics, with --topic")
			case !offsets && len(topics) > 0:
				return errors.New("--topic deletes only offsets of topics; add --offsets if that is meant")
			case !yes && !terminal.Is(cmd.InOrStdin()):
				return errors.New("deleting groups can't be undone; say --yes where nobody can be asked")
			}
			client, err := connection.Connect(cmd)
			if err != nil {
				return err
			}
			defer client.Close()
			// All names are checked before the first group goes: a typing error
			// should not be found half-way.
			groups, err := load(cmd.Context(), client, names...)
			if err != nil {
				return err
			}
			d := deletion{client: client, names: names, note: cmd.PrintErrf}
			what := "with all offsets"
			if offsets {
				if err := d.choose(cmd.Context(), chosen); err != nil {
					return err
				}
				what = "offsets of " + strings.Join(topics, ", ")
			} else if err := checkEmpty(groups); err != nil {
				return err
			}
			if !yes {
				question := fmt.Sprintf("Delete %s, %s: %s?", output.Plural(len(names), "group"), what, strings.Join(names, ", "))
				if sure, err := terminal.Confirm(cmd, question); err != nil || !sure {
					return cmp.Or(err, errors.New("nothing was deleted"))
				}
			}
			if offsets {
				return d.deleteOffsets(cmd.Context())
			}
			return d.deleteGroups(cmd.Context())
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.BoolVar(&offsets, "offsets", false, "delete only offsets, those of the topics in --topic")
	flags.StringArrayVarP(&topics, "topic", "t", nil, "`topic` for --offsets, or some partitions of it, as in orders:0-3,7; may be repeated")
	flags.BoolVarP(&yes, "yes", "y", false, "don't ask")
	connection.Register(cmd)
	completeTopicFlag(cmd, &connection)
	return cmd
}

// checkEmpty refuses groups with members, before any is deleted.
func checkEmpty(groups []described) error {
	var live []error
	for _, group := range groups {
		if n := len(group.Members); n > 0 {
			live = append(live, fmt.Errorf("group %s has %s (%s); stop its consumers first, see wadi group describe %s --members", group.Group, output.Plural(n, "member"), group.State, group.Group))
		}
	}
	return errors.Join(live...)
}

// deletion is one `wadi group delete` at work.
type deletion struct {
	client *bootstrap.Client
	names  []string
	// offsets are what --offsets deletes, by group.
	offsets map[string]kadm.TopicsSet
	note    func(format string, args ...any)
}

func (d *deletion) deleteGroups(ctx context.Context) error {
	ctx, cancel := d.client.Bound(ctx)
	defer cancel()
	responses, err := d.client.Admin.DeleteGroups(ctx, d.names...)
	if err != nil {
		return d.client.Explain("deleting groups", err, "")
	}
	var failed []error
	for _, name := range d.names {
		response, ok := responses[name]
		switch {
		case !ok:
			failed = append(failed, fmt.Errorf("deleting group %s: the broker's answer has nothing on it", name))
		case errors.Is(response.Err, kerr.NonEmptyGroup):
			failed = append(failed, fmt.Errorf("deleting group %s: it has members again; stop its consumers first", name))
		case response.Err != nil:
			failed = append(failed, d.client.Explain("deleting group "+name, response.Err, response.ErrMessage))
		default:
			d.note("deleted group %s\n", name)
		}
	}
	return errors.Join(failed...)
}

// choose finds the committed offsets that are selected. Those of topics that
// are gone can be deleted, too, so nothing is looked up but the offsets themselves.
func (d *deletion) choose(ctx context.Context, chosen selection) error {
	d.offsets = map[string]kadm.TopicsSet{}
	var missing []error
	for _, name := range d.names {
		committed, err := committedOffsets(ctx, d.client, name)
		if err != nil {
			return err
		}
		set := kadm.TopicsSet{}
		for _, topic := range chosen.names() {
			numbers := chosen[topic]
			if numbers == nil {
				for number := range committed[topic] {
					numbers = append(numbers, number)
				}
			}
			if len(numbers) == 0 {
				missing = append(missing, fmt.Errorf("group %s has no offsets of topic %s; see wadi group describe %s", name, topic, name))
			}
			for _, number := range numbers {
				if _, ok := committed.Lookup(topic, number); !ok {
					missing = append(missing, fmt.Errorf("group %s has no offset of %s partition %d; see wadi group describe %s", name, topic, number, name))
				}
				set.Add(topic, number)
			}
		}
		d.offsets[name] = set
	}
	return errors.Join(missing...)
}

func (d *deletion) deleteOffsets(ctx context.Context) error {
	var failed []error
	for _, name := range d.names {
		failed = append(failed, d.deleteOffsetsOf(ctx, name))
	}
	return errors.Join(failed...)
}

func (d *deletion) deleteOffsetsOf(ctx context.Context, name string) error {
	ctx, cancel := d.client.Bound(ctx)
	defer cancel()
	responses, err := d.client.Admin.DeleteOffsets(ctx, name, d.offsets[name])
	switch {
	case errors.Is(err, kerr.NonEmptyGroup):
		return fmt.Errorf("deleting offsets of group %s: it has members; stop its consumers first", name)
	case err != nil:
		return d.client.Explain("deleting offsets of group "+name, err, "")
	}
	failed := failures{}
	for _, topic := range assignments(d.offsets[name]) {
		deleted := 0
		for _, number := range topic.Partitions {
			p := partition{topic.Topic, number}
			err, ok := responses.Lookup(topic.Topic, number)
			switch {
			case !ok:
				failed.add(p, errors.New("the broker's answer has nothing on it"))
			case err != nil:
				failed.add(p, err)
			default:
				deleted++
			}
		}
		if deleted > 0 {
			d.note("deleted %s of group %s in topic %s\n", output.Plural(deleted, "offset"), name, topic.Topic)
		}
	}
	var reasons []error
	for partitions, err := range failed.each() {
		doing := fmt.Sprintf("deleting offsets of group %s in %s", name, partitions)
		if errors.Is(err, kerr.GroupSubscribedToTopic) {
			reasons = append(reasons, fmt.Errorf("%s: members of the group read this topic; stop them first, see wadi group describe %s --members", doing, name))
			continue
		}
		reasons = append(reasons, d.client.Explain(doing, err, ""))
	}
	return errors.Join(reasons...)
}
