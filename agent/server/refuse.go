package server

import (
	"reflect"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// refuse makes the answer that carries code wherever the API has room for an
// error: at the top, and at each topic and partition that the request named.
// It serves requests that no handler will see (a version below our minimum),
// of which Kafka's clients expect an answer in the old version's form.
//
// The answer mirrors the request: a slice in both of the same name gets one
// element for each of the request's, and fields of equal name and type (Topic,
// Partition, Name, ...) are copied.
func refuse(req kmsg.Request, code int16) kmsg.Response {
	resp := req.ResponseKind()
	mirror(reflect.ValueOf(req).Elem(), reflect.ValueOf(resp).Elem(), code)
	return resp
}

func mirror(req, resp reflect.Value, code int16) {
	for i := range resp.NumField() {
		field := resp.Type().Field(i)
		to := resp.Field(i)
		if field.Name == "ErrorCode" && to.Kind() == reflect.Int16 {
			to.SetInt(int64(code))
			continue
		}
		from := req.FieldByName(field.Name)
		switch {
		case !from.IsValid() || field.Name == "Version" || field.Name == "UnknownTags":
		case from.Type() == to.Type():
			to.Set(from)
		case from.Kind() == reflect.Slice && to.Kind() == reflect.Slice && to.Type().Elem().Kind() == reflect.Struct:
			to.Set(reflect.MakeSlice(to.Type(), from.Len(), from.Len()))
			for j := range from.Len() {
				mirrorElement(from.Index(j), to.Index(j), code)
			}
		}
	}
}

// mirrorElement mirrors a struct, or a bare value (DeleteTopics v0 names its
// topics as a list of strings) into the field that holds its like.
func mirrorElement(from, to reflect.Value, code int16) {
	if d := to.Addr().MethodByName("Default"); d.IsValid() {
		d.Call(nil)
	}
	if from.Kind() == reflect.Struct {
		mirror(from, to, code)
		return
	}
	for i := range to.NumField() {
		f := to.Field(i)
		switch {
		case to.Type().Field(i).Name == "ErrorCode":
			f.SetInt(int64(code))
		case f.Type() == from.Type():
			f.Set(from)
		case f.Kind() == reflect.Pointer && f.Type().Elem() == from.Type():
			p := reflect.New(from.Type())
			p.Elem().Set(from)
			f.Set(p)
		}
	}
}
