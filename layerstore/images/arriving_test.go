package images

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// arrivingFile is a file that has the beginning of a blob.
func arrivingFile(t *testing.T, have []byte) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "blob"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := f.Write(have); err != nil {
		t.Fatal(err)
	}
	return f
}

func blobOf(b []byte) ocispec.Descriptor {
	return ocispec.Descriptor{Digest: digest.FromBytes(b), Size: int64(len(b))}
}

// TestArriving has blobs read while they are written, in order and not, and
// wants the same bytes there and in the file.
func TestArriving(t *testing.T) {
	long := make([]byte, directFrom+3*pieceLen+12345)
	rand.New(rand.NewSource(1)).Read(long)
	inOrder := func(a *arriving, step int) ([]byte, error) {
		var got []byte
		for buf := make([]byte, step); ; {
			n, err := a.ReadAt(buf, int64(len(got)))
			if got = append(got, buf[:n]...); err != nil {
				if err == io.EOF {
					err = nil
				}
				return got, err
			}
		}
	}
	for _, tt := range []struct {
		about      string
		size, have int
		read       func(a *arriving) ([]byte, error)
	}{
		{"nothing", 0, 0, func(a *arriving) ([]byte, error) { return inOrder(a, 10) }},
		{"one byte", 1, 0, func(a *arriving) ([]byte, error) { return inOrder(a, 10) }},
		{"short", 3*pieceLen + 1, 0, func(a *arriving) ([]byte, error) { return inOrder(a, 100_001) }},
		{"long, past the page cache", len(long), 0, func(a *arriving) ([]byte, error) { return inOrder(a, 256<<10) }},
		{"gone on with", len(long), directAlign * 700, func(a *arriving) ([]byte, error) { return inOrder(a, 256<<10) }},
		{"gone on with near the end", len(long), len(long) &^ (directAlign - 1), func(a *arriving) ([]byte, error) { return inOrder(a, 256<<10) }},
		{"the end first", len(long), 0, func(a *arriving) ([]byte, error) {
			tail := make([]byte, 100)
			if _, err := a.ReadAt(tail, a.size-100); err != nil && err != io.EOF {
				return nil, err
			}
			got, err := inOrder(a, 1<<20)
			if err == nil && !bytes.Equal(tail, got[len(got)-100:]) {
				err = errors.New("the end is another when it is read first")
			}
			return got, err
		}},
	} {
		t.Run(tt.about, func(t *testing.T) {
			want := long[:tt.size]
			f := arrivingFile(t, want[:tt.have])
			a := newArriving(f, blobOf(want), int64(tt.have))
			var g errgroup.Group
			var got []byte
			g.Go(func() (err error) { got, err = tt.read(a); return })
			g.Go(func() error {
				err := a.fill(t.Context(), iotest.HalfReader(bytes.NewReader(want[tt.have:])))
				a.end(err)
				return errors.Join(err, a.out.close())
			})
			if err := g.Wait(); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("read %d bytes while they came, which are not those %d that were sent", len(got), len(want))
			}
			kept, err := os.ReadFile(f.Name())
			if err != nil || !bytes.Equal(kept, want) {
				t.Errorf("the file has %d bytes, which are not those that were sent: %v", len(kept), err)
			}
		})
	}
}

// TestArrivingEnds: who waits is told when nothing more will come, and what has
// come is in the file.
func TestArrivingEnds(t *testing.T) {
	broken := errors.New("broken off")
	f := arrivingFile(t, nil)
	a := newArriving(f, ocispec.Descriptor{Size: 2 * directFrom}, 0)
	var g errgroup.Group
	var read error
	g.Go(func() error {
		_, read = a.ReadAt(make([]byte, 10), directFrom*2-10)
		return nil
	})
	const came = 5*pieceLen + 777
	err := a.fill(t.Context(), io.MultiReader(io.LimitReader(zeros{}, came), iotest.ErrReader(broken)))
	a.end(err)
	g.Wait()
	if !errors.Is(err, broken) || !errors.Is(read, broken) {
		t.Errorf("fill: %v, ReadAt: %v; want %v of both", err, read, broken)
	}
	if st, err := f.Stat(); err != nil || st.Size() != came {
		t.Errorf("the file has %d bytes, want the %d that came (%v)", st.Size(), came, err)
	}
	// Nobody reads: who fills waits, until he is told to end.
	ctx, cancel := context.WithCancelCause(t.Context())
	a = newArriving(arrivingFile(t, nil), ocispec.Descriptor{Size: 2 * directFrom}, 0)
	g.Go(func() error { cancel(broken); return nil })
	if err := a.fill(ctx, zeros{}); !errors.Is(err, broken) {
		t.Errorf("fill that is cancelled: %v, want %v", err, broken)
	}
	g.Wait()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
