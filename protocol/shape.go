package protocol

import (
	"math"
)

// maxElements bounds the array elements and tags of one request. kmsg spends
// some 100 bytes on an element that takes 2 or 3 on the wire, so that the frame's
// size alone bounds nothing useful. A million is a request that names every
// partition of a very large cluster.
const maxElements = 1 << 20

// A shape is the sequence of fields of a request body or of a structure in it.
// It knows just enough to walk the bytes without allocating.
//
// Why bodies are walked before kmsg decodes them: kmsg allocates an array by its
// announced length, which it compares with the bytes left as if an element took
// one byte (100 MB of frame announce 6 GB of topics), and it counts announced tags
// down one by one after the bytes have run out (4 billion of them). The walk finds
// both lies at the cost of a few nanoseconds per field. Limiting the frames of all
// APIs but Produce was the alternative: it bounds the damage worse, and Produce not at all.
type shape []field

type kind int8

const (
	kindFixed    kind = iota // size bytes
	kindString               // length and bytes, 16 bit or compact
	kindBytes                // length and bytes, 32 bit or compact
	kindArray                // count and elements of one field, without tags
	kindStructs              // count and structures
	kindOptional             // one byte, -1 for null, and a structure
	kindStruct               // a structure
	kindTag                  // a tagged field that kmsg decodes; outside the sequence
)

type field struct {
	kind     kind
	size     int
	tag      uint64
	from, to int16
	elems    shape
}

var (
	int8s  = field{kind: kindFixed, size: 1, to: math.MaxInt16}
	int16s = field{kind: kindFixed, size: 2, to: math.MaxInt16}
	int32s = field{kind: kindFixed, size: 4, to: math.MaxInt16}
	int64s = field{kind: kindFixed, size: 8, to: math.MaxInt16}
	uuid   = field{kind: kindFixed, size: 16, to: math.MaxInt16}
	str    = field{kind: kindString, to: math.MaxInt16}
	blob   = field{kind: kindBytes, to: math.MaxInt16}
)

// array is an array of structures, each of which has tags in flexible versions.
func array(elems ...field) field { return field{kind: kindStructs, elems: elems, to: math.MaxInt16} }

// listOf is an array of plain values.
func listOf(elem field) field {
	return field{kind: kindArray, elems: shape{elem}, to: math.MaxInt16}
}

// optional is a structure that may be null.
func optional(elems ...field) field {
	return field{kind: kindOptional, elems: elems, to: math.MaxInt16}
}

// structure is one structure, with its own tags.
func structure(elems ...field) field {
	return field{kind: kindStruct, elems: elems, to: math.MaxInt16}
}

// tag is a tagged field of the structure that it stands in.
func tag(number uint64, elems ...field) field {
	return field{kind: kindTag, tag: number, elems: elems, to: math.MaxInt16}
}

// since and until limit a field to versions, inclusive.
func (f field) since(version int16) field { f.from = version; return f }
func (f field) until(version int16) field { f.to = version; return f }

// walk skips one structure: its fields and, in flexible versions, its tags.
func (r *reader) walk(s shape, version int16) {
	for i := range s {
		if r.err != nil {
			return
		}
		r.walkField(&s[i], version)
	}
	if r.flexible {
		r.tags(s, version)
	}
}

func (r *reader) walkField(f *field, version int16) {
	if version < f.from || version > f.to {
		return
	}
	switch f.kind {
	case kindFixed:
		r.span(f.size)
	case kindString:
		r.string()
	case kindBytes:
		r.blob()
	case kindArray:
		for n := r.count(); n > 0 && r.err == nil; n-- {
			r.walkField(&f.elems[0], version)
		}
	case kindStructs:
		for n := r.count(); n > 0 && r.err == nil; n-- {
			r.walk(f.elems, version)
		}
	case kindOptional:
		// As kmsg reads it: any other negative number is no null.
		if presence := r.span(1); r.err == nil && int8(presence[0]) != -1 {
			r.walk(f.elems, version)
		}
	case kindStruct:
		r.walk(f.elems, version)
	}
}

// tags skips a tag section (KIP-482): a count, then number, size and value of
// each. The values of those that kmsg decodes are walked too.
func (r *reader) tags(s shape, version int16) {
	for n := r.elements(r.uvarint()); n > 0 && r.err == nil; n-- {
		number := r.uvarint()
		value := reader{src: r.span64(r.uvarint()), flexible: true, elementsRead: r.elementsRead}
		if r.err != nil {
			return
		}
		for i := range s {
			f := &s[i]
			if f.kind != kindTag || f.tag != number {
				continue
			}
			for j := range f.elems {
				value.walkField(&f.elems[j], version)
			}
			r.err, r.elementsRead = value.err, value.elementsRead
		}
	}
}
