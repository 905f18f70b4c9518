package txncheck

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestLineLosesBySeedAndName: what is lost depends on nothing else, and is about as much as it should be.
func TestLineLosesBySeedAndName(t *testing.T) {
	lost := func(seed uint64, name string) (lost []int) {
		l := newLine(seed, name, Losses{kmsg.EndTxn: 100}, new(lossCounts))
		for i := range 10_000 {
			// Requests of other APIs in between change nothing.
			if l.judge(int16(kmsg.Fetch)) != passes {
				t.Error("a Fetch is lost")
			}
			switch l.judge(int16(kmsg.EndTxn)) {
			case losesAnswer:
				lost = append(lost, i)
			case losesRequest:
				lost = append(lost, -i)
			}
		}
		return lost
	}
	first := lost(1, "writer")
	if n := len(first); n < 1200 || n > 1800 {
		t.Errorf("%d of 10000 are lost, want about 1500", n)
	}
	if !slices.Equal(first, lost(1, "writer")) {
		t.Error("the same seed and name lose other requests")
	}
	if slices.Equal(first, lost(2, "writer")) || slices.Equal(first, lost(1, "other")) {
		t.Error("another seed or name loses the same")
	}
}

// TestLostAnswerWasAnswered: the server gets the request and answers; the client is cut off. A
// lost request never reaches the server.
func TestLostAnswerWasAnswered(t *testing.T) {
	for _, test := range []struct {
		verdict verdict
		served  int // requests that the server answered
		answers int // that the client got
	}{{passes, 2, 2}, {losesAnswer, 2, 1}, {losesRequest, 1, 1}} {
		l, counts := lineThatDecides(t, test.verdict)
		served := make(chan int)
		listener := listen(t, served)
		conn, err := l.dial(t.Context(), "tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		got := 0
		for correlation := range int32(2) {
			key := kmsg.Fetch
			if correlation == 1 {
				key = kmsg.EndTxn
			}
			if _, err := conn.Write(requestFrame(key, correlation)); err != nil {
				if !errors.Is(err, errCut) {
					t.Fatal(err)
				}
				continue
			}
			answer := make([]byte, 8)
			if _, err := io.ReadFull(conn, answer); err == nil {
				got++
			} else if !errors.Is(err, errCut) {
				t.Fatal(err)
			}
		}
		_ = conn.Close()
		if n := <-served; n != test.served || got != test.answers {
			t.Errorf("verdict %d: %d served, %d answers", test.verdict, n, got)
		}
		if l.strayed(kmsg.EndTxn) {
			t.Errorf("verdict %d: an answered request, or one that was never sent, counts as astray", test.verdict)
		}
		if n := counts.Answers.Load() + counts.Requests.Load(); n != int64(2-got) {
			t.Errorf("verdict %d: %d counted as lost", test.verdict, n)
		}
	}
}

// lineThatDecides returns a line whose first EndTxn has the verdict.
func lineThatDecides(t *testing.T, want verdict) (*line, *lossCounts) {
	t.Helper()
	for seed := range uint64(1000) {
		losses := Losses{kmsg.EndTxn: 300}
		if newLine(seed, "", losses, nil).judge(int16(kmsg.EndTxn)) == want {
			counts := new(lossCounts)
			return newLine(seed, "", losses, counts), counts
		}
	}
	t.Fatalf("no seed gives verdict %d", want)
	return nil, nil
}

// listen answers the requests of one connection, and tells how many there were.
func listen(t *testing.T, served chan<- int) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		n := 0
		defer func() { served <- n }()
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		for {
			frame := make([]byte, requestHead)
			if _, err := io.ReadFull(conn, frame); err != nil {
				return
			}
			n++
			// An answer of nothing but the correlation ID.
			if _, err := conn.Write(slices.Concat([]byte{0, 0, 0, 4}, frame[8:12])); err != nil {
				return
			}
		}
	}()
	return listener
}

// requestFrame is a request of nothing but its head.
func requestFrame(key kmsg.Key, correlation int32) []byte {
	var b bytes.Buffer
	for _, part := range []any{int32(8), int16(key), int16(0), correlation} {
		_ = binary.Write(&b, binary.BigEndian, part) // a Buffer takes everything
	}
	return b.Bytes()
}

// TestClientDiesOfARequest: the server gets that or not; it is the last.
func TestClientDiesOfARequest(t *testing.T) {
	for _, delivered := range []bool{false, true} {
		served := make(chan int, 1)
		listener := listen(t, served)
		l := newLine(1, "", nil, new(lossCounts))
		conn, err := l.dial(t.Context(), "tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		deaths := 0
		l.dieAt(kmsg.EndTxn, delivered, func() { deaths++ })
		if _, err := conn.Write(requestFrame(kmsg.Fetch, 0)); err != nil {
			t.Errorf("another request: %v", err)
		}
		if _, err := conn.Write(requestFrame(kmsg.EndTxn, 1)); err == nil {
			t.Error("the last request came back as sent")
		}
		if _, err := l.dial(t.Context(), "tcp", listener.Addr().String()); err == nil {
			t.Error("there is a new connection")
		}
		want := 1
		if delivered {
			want = 2
		}
		if n := <-served; n != want || deaths != 1 {
			t.Errorf("delivered %v: %d requests served, want %d; %d deaths", delivered, n, want, deaths)
		}
	}
}

// TestUnansweredRequestIsAstray: the connection ends before the answer came.
func TestUnansweredRequestIsAstray(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") // nobody answers
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	l := newLine(1, "", nil, new(lossCounts))
	conn, err := l.dial(t.Context(), "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(requestFrame(kmsg.EndTxn, 1)); err != nil {
		t.Fatal(err)
	}
	if l.strayed(kmsg.EndTxn) {
		t.Error("a request counts as astray while its answer may come")
	}
	_ = conn.Close()
	if !l.strayed(kmsg.EndTxn) || l.strayed(kmsg.InitProducerID) {
		t.Error("not the unanswered request, or another one, counts as astray")
	}
}

// TestSeveredLineIsDead: open connections end, and there are no new ones.
func TestSeveredLineIsDead(t *testing.T) {
	served := make(chan int, 1)
	listener := listen(t, served)
	l := newLine(1, "", nil, new(lossCounts))
	conn, err := l.dial(t.Context(), "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	l.sever()
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("an open connection goes on")
	}
	if _, err := l.dial(t.Context(), "tcp", listener.Addr().String()); err == nil {
		t.Error("there is a new connection")
	}
	<-served
}
