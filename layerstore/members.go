package layerstore

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/opencontainers/go-digest"

	"mica/layerstore/blob"
	"mica/layerstore/toc"
)

// scanArchive walks over an archive that holds an image, and makes the
// indexes of the layers in it as they pass by: so an archive that is
// compressed as a whole is decoded once and not once for each layer. What goes
// wrong here is no error: the index that is missing is made when it is asked
// for, and says what is wrong.
func (p *pass) scanArchive(ctx context.Context, store *Store, src *chunkReader) error {
	archive := tar.NewReader(src)
	for layers := 0; layers < maxMembers; {
		h, err := archive.Next()
		if err != nil {
			break
		}
		// The holes of a sparse member are made up by the reader, without end
		// if need be; no archive of an image has one.
		if h.Typeflag == tar.TypeReg && !isSparse(h) {
			place := fmt.Sprintf("%s@%d+%d", expandedPlace(p.src), src.pos, h.Size)
			if made, _ := store.indexMember(ctx, archive, h.Size, p.spec.Key(), place); made {
				layers++
			}
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return src.drain()
}

// indexMember makes the index of a layer that is not compressed out of its
// bytes, and says whether it did; of anything else it makes nothing. It may
// leave some bytes unread. archive is the key of the index whose lock is held:
// a name until it is known which layer it is; place is where the layer lies.
func (s *Store) indexMember(ctx context.Context, r io.Reader, size int64, archive, place string) (made bool, err error) {
	head := make([]byte, 512)
	if size%512 != 0 || size < 1024 {
		return false, nil // no tar has such a length
	}
	if _, err := io.ReadFull(r, head); err != nil {
		return false, err
	}
	if blob.Sniff(head) != blob.None || !bytes.HasPrefix(head[257:], []byte("ustar")) && !allZero(head) {
		return false, nil
	}
	f, err := s.tempFile(s.IndexPath(digest.FromString("member of " + archive).String()))
	if err != nil {
		return false, err
	}
	defer func() {
		f.Close()
		os.Remove(f.Name()) // fails where it has been renamed
	}()
	w, err := toc.NewWriter(f)
	if err != nil {
		return false, err
	}
	defer w.Close()
	hash := digest.SHA256.Digester()
	sums := sums{w: w}
	seen := &tee{io.MultiReader(bytes.NewReader(head), r), func(b []byte) { hash.Hash().Write(b); sums.add(b) }}
	found, err := toc.Scan(toc.NewReaderSource(seen), w.Add)
	if err != nil {
		return false, err
	}
	if _, err := io.Copy(io.Discard, seen); err != nil {
		return false, err
	}
	sums.cut()
	id := hash.Digest().String()
	info := toc.Info{Codec: toc.Plain, BlobSize: size, LayerSize: size, Digest: id, DiffID: id, Notes: notes(found)}
	if err := w.Finish(info); err != nil {
		return false, err
	}
	if err := commit(f, s.IndexPath(id)); err != nil {
		return false, err
	}
	return true, s.proven(ctx, id, place)
}

// maxMembers is how many layers an archive may have that are indexed as they
// pass by. An image has no more.
const maxMembers = 4096

func isSparse(h *tar.Header) bool {
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

func allZero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

// notes gives what a scan has left out, as text.
func notes(found toc.Summary) []string {
	var all []string
	for _, n := range found.Notes {
		if n.Path != "" {
			n.Text = fmt.Sprintf("%q: %s", n.Path, n.Text)
		}
		all = append(all, n.Text)
	}
	if more := found.Noted - len(found.Notes); more > 0 {
		all[len(all)-1] = fmt.Sprintf("%d more such entries", more+1)
	}
	return all
}

// A tee shows what is read through it.
type tee struct {
	r   io.Reader
	see func([]byte)
}

func (t *tee) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	t.see(p[:n])
	return n, err
}
