// Package inflate decodes gzip (RFC 1952, RFC 1951) fast, notes places where
// decoding can go on, and goes on there.
//
//	src ─bitReader→ member header ─→ block header ─tables→ symbols ─→ Read's buffer
//	                     └──────────────┴──── Points (OnPoint) ──────┘
//
// A first pass through [NewReader] checks every member's CRC and yields the
// Points; later [Resume] makes any stretch of the output without what is
// before it.
//
// # Invariants
//
//   - A deflate stream is refused just where compress/flate refuses it, and all
//     bytes before the fault are given first.
//   - Output is decoded into the caller's buffer, whose bytes up to the end serve
//     as scratch; nothing of it is looked at after Read returned. What later
//     matches may refer to is kept in Reader.hist.
//   - Between two steps of the decoder, the bit buffer holds nothing above its
//     bitReader.n bits, and whole bytes in it can be put back.
//   - fastLoop does nothing but what plainSymbol does, and quicker; a test and a
//     fuzz test hold the two against each other.
package inflate
