package container

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
)

// A frame is a message between a supervisor and a client: a byte that says
// what it is, the length of the rest in four, big-endian, and the rest.
type frame struct {
	kind frameKind
	data []byte // good until the next frame is read
}

type frameKind byte

const (
	// A client begins with one of these two, and reads until it knows enough.
	frameStart  frameKind = 's' // hello: start the container; of whoever started the supervisor
	frameHello  frameKind = 'h' // hello
	frameStdin  frameKind = 'i'
	frameEOF    frameKind = 'e' // no more of that
	frameResize frameKind = 'r' // winsize

	frameAttached frameKind = 'a' // output from here on is sent
	frameStarted  frameKind = 'b'
	frameFailed   frameKind = 'f' // failure: it could not be started
	frameStdout   frameKind = 'o'
	frameStderr   frameKind = 'x'
	frameExit     frameKind = 'q' // exit
)

// maxFrame bounds what is taken from the other side, in bytes.
const maxFrame = 1 << 20

// hello says what a client wants.
type hello struct {
	Stdin  bool // it sends standard input
	Output bool // it wants output
}

type winsize struct{ Rows, Columns uint16 }

type failure struct {
	Text, Hint string
	Status     int
}

type exit struct{ Code int }

// writeFrame sends a frame in one write, so that who is killed sends no half of one.
func writeFrame(w io.Writer, kind frameKind, data []byte) error {
	b := make([]byte, 5+len(data))
	b[0] = byte(kind)
	binary.BigEndian.PutUint32(b[1:], uint32(len(data)))
	copy(b[5:], data)
	_, err := w.Write(b)
	return err
}

func writeJSONFrame(w io.Writer, kind frameKind, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return writeFrame(w, kind, b)
}

// A frameReader reads frames. io.EOF is that the other side is gone.
type frameReader struct {
	r   *bufio.Reader
	buf []byte
}

func newFrameReader(r io.Reader) *frameReader { return &frameReader{r: bufio.NewReaderSize(r, 4096)} }

func (fr *frameReader) next() (frame, error) {
	var head [5]byte
	if _, err := io.ReadFull(fr.r, head[:]); err != nil {
		if err == io.ErrUnexpectedEOF {
			err = io.EOF
		}
		return frame{}, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > maxFrame {
		return frame{}, fmt.Errorf("frame of %d bytes", n)
	}
	if int(n) > cap(fr.buf) {
		fr.buf = make([]byte, n)
	}
	b := fr.buf[:n]
	if _, err := io.ReadFull(fr.r, b); err != nil {
		return frame{}, io.EOF
	}
	return frame{frameKind(head[0]), b}, nil
}

func (f frame) decode(v any) error { return json.Unmarshal(f.data, v) }
