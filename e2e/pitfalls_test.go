package e2e

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// The pitfalls of the formats that layers come in: what their standards allow
// and tools write, and what readers have stumbled over. Those of compressed
// streams are here, of tars and images in files of their own. What a unit test
// holds already (deflate, tar headers, documents of images) is not said again,
// but what has to come through the whole of mica is.

// A stream is a layer compressed in one of the ways that exist.
type stream struct {
	about   string
	pack    func(t *testing.T, b []byte) []byte
	refused string // a part of the error; "" is served
}

// TestPitfallsGzip serves gzip as all kinds of tools write it.
func TestPitfallsGzip(t *testing.T) {
	var name strings.Builder
	for name.Len() < 70_000 { // longer than any buffer
		name.WriteString("layer.tar ")
	}
	extra := func(s string) string { return string(binary.LittleEndian.AppendUint16(nil, uint16(len(s)))) + s }
	one := func(b []byte) []byte { return gzipMember(0, "", deflate(b, 6), b) }
	streams := []stream{
		{about: "members end to end", pack: inMembers(100_000, one)},
		{about: "a member for each file, as eStargz", pack: inMembers(512, one)},
		{about: "empty members, before, between and at the end", pack: func(_ *testing.T, b []byte) []byte {
			none := one(nil)
			return slices.Concat(none, none, one(b[:1000]), none, one(b[1000:]), none, none)
		}},
		{about: "BGZF, with its empty member at the end", pack: bgzf},
		{about: "pigz", pack: tool("pigz", "-p", "2", "-b", "128")},
		{about: "pigz --independent", pack: tool("pigz", "-p", "2", "-i")},
		{about: "pigz --rsyncable", pack: tool("pigz", "-p", "2", "-R")},
		{about: "gzip --rsyncable", pack: tool("gzip", "-n", "--rsyncable")},
		{about: "gzip -9", pack: tool("gzip", "-9")},
		{about: "igzip -0: one block", pack: tool("igzip", "-0")},
		{about: "igzip -3", pack: tool("igzip", "-3")},
		{about: "sync flushes: empty stored blocks in the midst", pack: flushed},
		{about: "stored blocks", pack: func(_ *testing.T, b []byte) []byte { return gzipMember(0, "", deflate(b, flate.NoCompression), b) }},
		{about: "Huffman codes alone", pack: func(_ *testing.T, b []byte) []byte { return gzipMember(0, "", deflate(b, flate.HuffmanOnly), b) }},
		{about: "headers of other lengths: extra, name, comment, checksum", pack: func(_ *testing.T, b []byte) []byte {
			return slices.Concat(
				gzipMember(4|8|16|2, extra("SG\x04\x00abcd")+"layer.tar\x00a comment\x00", deflate(b[:100_000], 6), b[:100_000]),
				gzipMember(8, name.String()+"\x00", deflate(b[100_000:200_000], 6), b[100_000:200_000]),
				gzipMember(2|1, "", deflate(b[200_000:], 6), b[200_000:]))
		}},
		{about: "zeros behind the last member", pack: func(_ *testing.T, b []byte) []byte { return append(one(b), make([]byte, 10_000)...) }},
		{about: "garbage behind the last member", pack: func(_ *testing.T, b []byte) []byte { return append(one(b), "garbage, no member"...) }},

		{about: "a reserved flag", refused: "reserved flag", pack: func(_ *testing.T, b []byte) []byte { return gzipMember(0x20, "", deflate(b, 6), b) }},
		{about: "a wrong CRC in the second member", refused: "CRC of a member is wrong", pack: func(_ *testing.T, b []byte) []byte {
			return append(one(b[:5000]), gzipMember(0, "", deflate(b[5000:], 6), []byte("other bytes"))...)
		}},
		{about: "cut in the trailer", refused: "cut", pack: func(_ *testing.T, b []byte) []byte { return one(b)[:len(one(b))-3] }},
		{about: "cut in the midst", refused: "cut", pack: func(_ *testing.T, b []byte) []byte { return one(b)[:len(one(b))/2] }},
	}
	testStreams(t, v1.MediaTypeImageLayerGzip, streamLayer(300_000), streams)
}

// TestPitfallsZstd does so for zstd.
func TestPitfallsZstd(t *testing.T) {
	encode := func(o ...zstd.EOption) func(b []byte) []byte {
		return func(b []byte) []byte {
			e, err := zstd.NewWriter(nil, append(o, zstd.WithEncoderLevel(zstd.SpeedFastest))...)
			must(err)
			return e.EncodeAll(b, nil)
		}
	}
	one := encode()
	skippable := func(n byte, s string) []byte {
		return append(binary.LittleEndian.AppendUint32([]byte{0x50 + n, 0x2a, 0x4d, 0x18}, uint32(len(s))), s...)
	}
	streams := []stream{
		{about: "frames end to end, as pzstd", pack: inMembers(1<<20, one)},
		{about: "pzstd", pack: tool("pzstd", "-q", "-p", "2", "-c")},
		{about: "a frame for each file, as zstd:chunked", pack: inMembers(4096, one)},
		{about: "skippable frames, first, between and last", pack: func(_ *testing.T, b []byte) []byte {
			return slices.Concat(skippable(0, ""), skippable(15, "not for us"), one(b[:70_000]), skippable(3, strings.Repeat("s", 300_000)), one(b[70_000:]), skippable(14, "end"))
		}},
		{about: "empty frames", pack: func(_ *testing.T, b []byte) []byte {
			return slices.Concat(encode(zstd.WithZeroFrames(true))(nil), one(b), encode(zstd.WithZeroFrames(true))(nil))
		}},
		{about: "no content size", pack: tool("zstd", "-q", "-1", "--no-content-size", "-c")},
		{about: "no checksum", pack: func(_ *testing.T, b []byte) []byte { return encode(zstd.WithEncoderCRC(false))(b) }},
		{about: "a single segment", pack: func(_ *testing.T, b []byte) []byte { return encode(zstd.WithSingleSegment(true))(b) }},
		{about: "zstd -T2, one frame of several jobs", pack: tool("zstd", "-q", "-3", "-T2", "-c")},
		{about: "zstd -12, whose matches are far", pack: tool("zstd", "-q", "-12", "-c")},
		{about: "a window of 128 MiB", pack: tool("zstd", "-q", "-1", "--long=27", "--no-content-size", "-c")},
		{about: "seekable zstd", pack: seekable(one)},

		{about: "a window beyond what is served", refused: "window", pack: tool("zstd", "-q", "-1", "--long=29", "--no-content-size", "-c")},
		{about: "a dictionary", refused: "dictionary", pack: func(_ *testing.T, b []byte) []byte { return encode(zstd.WithEncoderDictRaw(7, b[:1000]))(b) }},
		{about: "garbage behind the last frame", refused: "after the last frame that are no frame", pack: func(_ *testing.T, b []byte) []byte { return append(one(b), "garbage"...) }},
		{about: "cut in the midst", refused: "cut", pack: func(_ *testing.T, b []byte) []byte { return one(b)[:len(one(b))/2] }},
		{about: "a wrong checksum", refused: "checksum", pack: func(_ *testing.T, b []byte) []byte {
			z := encode(zstd.WithEncoderCRC(true))(b)
			z[len(z)-1] ^= 1
			return z
		}},
	}
	testStreams(t, v1.MediaTypeImageLayerZstd, streamLayer(3_000_000), streams)
}

// TestPitfallsSniffed: what a layer is compressed with is told by its bytes,
// whatever its media type says.
func TestPitfallsSniffed(t *testing.T) {
	l := streamLayer(10_000)
	for _, c := range []codec{plain, gzipped, zstdFast} {
		for _, said := range []codec{plain, gzipped, zstdFast} {
			if c == said {
				continue
			}
			testStreams(t, layerTypes[said], l, []stream{{
				about: fmt.Sprintf("%s labelled %s", c, said),
				pack:  func(_ *testing.T, b []byte) []byte { return c.pack(b) },
			}})
		}
	}
}

// TestPitfallsBehindTheTar: the diffID is of all that is decompressed, also of
// what follows the end mark.
func TestPitfallsBehindTheTar(t *testing.T) {
	small := layerOf(dir("d"), file("d/f", "text"))
	for about, behind := range map[string][]byte{
		"records of 10 KiB":         make([]byte, 10240-len(small)%10240),
		"a megabyte of zeros":       make([]byte, 1<<20),
		"garbage":                   []byte(strings.Repeat("garbage ", 100_000)),
		"another tar":               layerOf(file("hidden", "never shown")),
		"less than a block":         []byte("x"),
		"no end mark at all":        nil,
		"one block of zeros of two": nil,
	} {
		l := slices.Concat(small, behind)
		switch about {
		case "no end mark at all":
			l = small[:len(small)-1024]
		case "one block of zeros of two":
			l = small[:len(small)-512]
		}
		for _, c := range []codec{plain, gzipped, zstdFast} {
			t.Run(about+" "+string(c), func(t *testing.T) {
				h := newHost(t)
				layout := filepath.Join(h.dir, "oci")
				if err := writeBlobs(layout, blobLayer{l, c.pack(l), layerTypes[c]}); err != nil {
					t.Fatal(err)
				}
				if got := h.mica("find", layout, "/"); got != "/\n/d\n/d/f\n" {
					t.Errorf("find: %q", got)
				}
				if got := h.mica("cat", layout, "/d/f"); got != "text" {
					t.Errorf("cat: %q", got)
				}
			})
		}
	}
}

// testStreams mounts a layer compressed in each of these ways.
func testStreams(t *testing.T, mediaType string, l layer, streams []stream) {
	needFUSE(t)
	h := newHost(t)
	plainly := filepath.Join(h.dir, "oci")
	if err := writeBlobs(plainly, blobLayer{l, l, layerTypes[plain]}); err != nil {
		t.Fatal(err)
	}
	want := mustReadTree(t, h.mount(plainly))
	for _, s := range streams {
		t.Run(s.about, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			layout := filepath.Join(h.dir, "oci")
			if err := writeBlobs(layout, blobLayer{l, s.pack(t, l), mediaType}); err != nil {
				t.Fatal(err)
			}
			mnt, err := h.tryMount(layout)
			switch {
			case s.refused == "" && err != nil:
				t.Fatal(err)
			case s.refused != "" && (err == nil || !strings.Contains(err.Error(), "layer 1: ") || !strings.Contains(err.Error(), s.refused)):
				t.Fatalf("mount: %v, want an error about layer 1 with %q", err, s.refused)
			case s.refused == "":
				sameTree(t, want, mustReadTree(t, mnt))
				h.umount(mnt)
			}
		})
	}
}

// streamLayer is a layer whose parts compress well, badly, and as repeats of
// what was there long before. Of each kind it has size bytes. The files lie in
// it against the order of their names, in which they will be read.
func streamLayer(size int) layer {
	r := rand.New(rand.NewPCG(9, 10))
	noise := make([]byte, size)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	var text strings.Builder
	for text.Len() < size {
		fmt.Fprintf(&text, "line %d of %d\n", text.Len(), r.IntN(1000))
	}
	entries := []entry{dir("d")}
	for i, data := range []string{string(noise), text.String(), strings.Repeat("\x00", size), string(noise) + text.String(), "short", "", string(noise[:513])} {
		entries = append(entries, file(fmt.Sprintf("d/%c", 'z'-i), data))
	}
	for i := range 300 {
		entries = append(entries, file(fmt.Sprintf("d/m%03d", 999-i), text.String()[i:7*i]))
	}
	return layerOf(entries...)
}

// A blobLayer is a layer and how it is stored.
type blobLayer struct {
	layer     layer
	blob      []byte
	mediaType string
}

// writeBlobs writes an OCI layout of these layers with the tag latest.
func writeBlobs(dir string, layers ...blobLayer) error {
	lo := layout{}
	im := image{}
	for _, l := range layers {
		im = append(im, l.layer)
	}
	m := v1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: v1.MediaTypeImageManifest,
		Config:    lo.blob(v1.MediaTypeImageConfig, im.config()),
	}
	for _, l := range layers {
		m.Layers = append(m.Layers, lo.blob(l.mediaType, l.blob))
	}
	lo.point(lo.blob(m.MediaType, toJSON(m)))
	return lo.write(dir)
}

// point makes the layout one of a single manifest or index, with the tag latest.
func (lo layout) point(d v1.Descriptor) {
	d.Annotations = map[string]string{v1.AnnotationRefName: "latest"}
	lo[v1.ImageIndexFile] = toJSON(v1.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{d},
	})
	lo[v1.ImageLayoutFile] = toJSON(v1.ImageLayout{Version: v1.ImageLayoutVersion})
}

// tool packs with a program, which reads standard input and writes standard
// output.
func tool(name string, args ...string) func(t *testing.T, b []byte) []byte {
	return func(t *testing.T, b []byte) []byte {
		t.Helper()
		needTool(t, name)
		cmd := exec.Command(name, args...)
		cmd.Stdin = bytes.NewReader(b)
		out, err := output(cmd)
		if err != nil {
			t.Fatal(err)
		}
		return []byte(out)
	}
}

// inMembers packs each n bytes by themselves.
func inMembers(n int, pack func([]byte) []byte) func(*testing.T, []byte) []byte {
	return func(_ *testing.T, b []byte) (out []byte) {
		for part := range slices.Chunk(b, n) {
			out = append(out, pack(part)...)
		}
		return out
	}
}

// gzipMember is a member of a gzip stream (RFC 1952): flags with the fields
// that they announce, the checksum of the header among them if it is asked for.
func gzipMember(flags byte, fields string, deflated, plain []byte) []byte {
	h := append([]byte{0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 255}, fields...)
	if flags&2 != 0 {
		h = binary.LittleEndian.AppendUint16(h, uint16(crc32.ChecksumIEEE(h)))
	}
	h = append(h, deflated...)
	h = binary.LittleEndian.AppendUint32(h, crc32.ChecksumIEEE(plain))
	return binary.LittleEndian.AppendUint32(h, uint32(len(plain)))
}

func deflate(b []byte, level int) []byte {
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, level)
	must(err)
	must(w.Write(b))
	must(w.Close())
	return out.Bytes()
}

// flushed is one member that can be cut anywhere into pieces that were written
// out at once.
func flushed(_ *testing.T, b []byte) []byte {
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, 5)
	must(err)
	for part := range slices.Chunk(b, 3000) {
		must(w.Write(part))
		must(w.Flush())
		must(w.Flush())
	}
	must(w.Close())
	return gzipMember(0, "", out.Bytes(), b)
}

// bgzf is gzip in members of at most 64 KiB that say in an extra field how
// long they are, then an empty one (the SAM specification, 4.1).
func bgzf(_ *testing.T, b []byte) (out []byte) {
	for part := range slices.Chunk(b, 65280) {
		data := deflate(part, 6)
		size := 10 + 8 + len(data) + 8 // header, extra field, data, trailer
		out = append(out, gzipMember(4, "\x06\x00BC\x02\x00"+string(binary.LittleEndian.AppendUint16(nil, uint16(size-1))), data, part)...)
	}
	return append(out, "\x1f\x8b\x08\x04\x00\x00\x00\x00\x00\xff\x06\x00BC\x02\x00\x1b\x00\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00"...)
}

// seekable is zstd in frames with a table of them in a skippable one at the
// end (zstd's contrib/seekable_format).
func seekable(one func([]byte) []byte) func(*testing.T, []byte) []byte {
	return func(_ *testing.T, b []byte) (out []byte) {
		var table []byte
		frames := uint32(0)
		for part := range slices.Chunk(b, 2<<20) {
			z := one(part)
			out = append(out, z...)
			table = binary.LittleEndian.AppendUint32(table, uint32(len(z)))
			table = binary.LittleEndian.AppendUint32(table, uint32(len(part)))
			frames++
		}
		table = append(binary.LittleEndian.AppendUint32(table, frames), 0)
		table = binary.LittleEndian.AppendUint32(table, 0x8f92eab1)
		out = append(out, 0x5e, 0x2a, 0x4d, 0x18)
		return append(binary.LittleEndian.AppendUint32(out, uint32(len(table))), table...)
	}
}
