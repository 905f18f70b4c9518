package agents

import (
	"cmp"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/wadi-log/wadi/agent"
	"github.com/wadi-log/wadi/cmd/wadi/internal/output"
	"github.com/wadi-log/wadi/metadata"
)

// writeTable writes one line for each agent.
func writeTable(w io.Writer, list []agent.ListedAgent) error {
	var rows [][]string
	for _, a := range list {
		id := strconv.Itoa(int(a.NodeID))
		if a.Self {
			id += "*"
		}
		rows = append(rows, []string{
			id, a.Name, string(a.State), cmp.Or(a.Zone, "-"), cmp.Or(strings.Join(a.Roles, ","), "-"), addresses(a.Listeners), cmp.Or(a.Peer, "-"), cmp.Or(a.Version, "-"),
			age(a.AgeSeconds), strconv.FormatInt(a.Load.Connections, 10),
			size(a.Load.BytesIn), size(a.Load.BytesOut), took(a.Load.Put), took(a.Load.Commit), size(a.Load.MemoryBytes),
		})
	}
	return output.Table(w, "ID NAME STATE ZONE ROLES ADDRESS PEER VERSION AGE CONNECTIONS IN/S OUT/S PUT COMMIT MEMORY", rows)
}

// addresses are those of the listeners, in Kafka's form where they need a name.
func addresses(listeners []metadata.Listener) string {
	var all []string
	for _, l := range listeners {
		name := l.Name + "://"
		if l.Name == metadata.DefaultListener {
			name = ""
		}
		all = append(all, name+l.Address())
	}
	return strings.Join(all, ",")
}

// age is a duration in its one or two largest units.
func age(seconds int64) string {
	d := time.Duration(seconds) * time.Second
	days, hours := int64(d/(24*time.Hour)), int64(d/time.Hour%24)
	switch {
	case days > 0:
		return strconv.FormatInt(days, 10) + "d" + strconv.FormatInt(hours, 10) + "h"
	case d >= time.Hour:
		return strings.TrimSuffix(d.Truncate(time.Minute).String(), "0s")
	}
	return d.String()
}

// size is a number of bytes in one word.
func size(n int64) string { return strings.ReplaceAll(humanize.IBytes(uint64(max(0, n))), " ", "") }

// took is a duration with three digits at most, "-" for unknown.
func took(d time.Duration) string {
	switch {
	case d == 0:
		return "-"
	case d < 10*time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(10 * time.Millisecond).String()
}
