package main

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// query is what one query asks for.
type query struct {
	Query     string
	Selectors []selector
	// Labels are those that results are grouped or joined by.
	Labels []string
}

// selector asks for the samples of one metric.
type selector struct {
	Metric   string
	Matchers []matcher
}

type matcher struct {
	Label, Type, Value string
}

// queries parses a JSON list of queries.
func queries(input []byte) (any, error) {
	var texts []string
	if err := json.Unmarshal(input, &texts); err != nil {
		return nil, err
	}
	promql := parser.NewParser(parser.Options{})
	all := []query{}
	for _, text := range texts {
		expression, err := promql.ParseExpr(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", text, err)
		}
		q := query{Query: text}
		parser.Inspect(expression, func(node parser.Node, _ []parser.Node) error {
			switch n := node.(type) {
			case *parser.VectorSelector:
				q.Selectors = append(q.Selectors, selected(n))
			case *parser.AggregateExpr:
				if !n.Without {
					q.Labels = append(q.Labels, n.Grouping...)
				}
			case *parser.BinaryExpr:
				if n.VectorMatching != nil && n.VectorMatching.On {
					q.Labels = append(q.Labels, n.VectorMatching.MatchingLabels...)
				}
			}
			return nil
		})
		slices.Sort(q.Labels)
		q.Labels = slices.Compact(q.Labels)
		all = append(all, q)
	}
	return all, nil
}

func selected(v *parser.VectorSelector) selector {
	s := selector{Metric: v.Name}
	for _, m := range v.LabelMatchers {
		if m.Name != labels.MetricName {
			s.Matchers = append(s.Matchers, matcher{m.Name, m.Type.String(), m.Value})
		}
	}
	return s
}
