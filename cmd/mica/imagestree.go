package main

import (
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
)

// A stackNode is layers that some images begin with, on those of its parent: the
// images that end there, and the stacks that go on from there.
type stackNode struct {
	Role     string          `json:"role"`   // base, intermediate, final; "shared" are layers of several images that are none
	Images   []imageRow      `json:"images"` // those that consist of these layers and the parents'
	Layers   []digest.Digest `json:"layers"` // diffIDs, bottom first
	Added    int64           `json:"added"`  // by these layers, unpacked, in bytes
	Size     int64           `json:"size"`   // with all below
	Children []*stackNode    `json:"children"`
}

// A stackLayer is one layer of an image as the tree of images sees it.
type stackLayer struct {
	diffID digest.Digest
	size   int64 // unpacked
}

// stackTree puts images by what they share: those that begin with the same
// layers below one another.
func stackTree(rows []imageRow) []*stackNode {
	root := &stackNode{}
	for _, r := range rows {
		n := root
		for _, l := range r.stack {
			n = n.child(l)
		}
		n.Images = append(n.Images, r)
	}
	for _, n := range root.Children {
		n.settle(0, false)
	}
	if len(root.Images) > 0 { // without layers, or that could not be read
		root.Children = append(root.Children, &stackNode{Role: "final", Images: root.Images, Layers: []digest.Digest{}, Children: []*stackNode{}})
	}
	return root.Children
}

func (n *stackNode) child(l stackLayer) *stackNode {
	for _, c := range n.Children {
		if c.Layers[0] == l.diffID {
			return c
		}
	}
	c := &stackNode{Layers: []digest.Digest{l.diffID}, Added: l.size, Images: []imageRow{}, Children: []*stackNode{}}
	n.Children = append(n.Children, c)
	return c
}

// settle joins layers that nothing parts, and tells sizes and roles. below is
// the size of those below, onImage whether an image is among them.
func (n *stackNode) settle(below int64, onImage bool) {
	for len(n.Images) == 0 && len(n.Children) == 1 {
		c := n.Children[0]
		n.Layers, n.Added = append(n.Layers, c.Layers...), n.Added+c.Added
		n.Images, n.Children = c.Images, c.Children
	}
	n.Size = below + n.Added
	switch {
	case len(n.Images) == 0:
		n.Role = "shared"
	case len(n.Children) == 0:
		n.Role = "final"
	case onImage:
		n.Role = "intermediate"
	default:
		n.Role = "base"
	}
	for _, c := range n.Children {
		c.settle(n.Size, onImage || len(n.Images) > 0)
	}
}

// names are those of the images, or what the layers are.
func (n *stackNode) names() string {
	if len(n.Images) == 0 {
		return "(" + plural(len(n.Layers), "layer") + ")"
	}
	var names []string
	for _, r := range n.Images {
		name := r.Reference
		if name == "" {
			name = "<none>@" + shortDigest(r.ID.String())
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

func (n *stackNode) id() string {
	if len(n.Images) == 0 {
		return shortDigest(n.Layers[len(n.Layers)-1].String())
	}
	return shortDigest(n.Images[0].ID.String())
}

// tree prints the images by what they share.
func (l *imageLister) tree(rows []imageRow) error {
	nodes := stackTree(rows)
	if l.format.json() {
		if nodes == nil {
			nodes = []*stackNode{}
		}
		return printJSON(l.std.out, nodes)
	}
	var lines [][]string
	if !l.format.noHeading {
		lines = append(lines, []string{"IMAGE", "ID", "ROLE", "LAYERS", "ADDED", "SIZE"})
	}
	for _, n := range nodes {
		lines = n.draw(lines, "", "")
	}
	return printTable(l.std.out, lines)
}

// draw appends a node's line and those below. first and rest are what stands
// before the first and before the others.
func (n *stackNode) draw(lines [][]string, first, rest string) [][]string {
	lines = append(lines, []string{first + n.names(), n.id(), n.Role, strconv.Itoa(len(n.Layers)), size(n.Added), size(n.Size)})
	for i, c := range n.Children {
		if i < len(n.Children)-1 {
			lines = c.draw(lines, rest+"├─ ", rest+"│  ")
		} else {
			lines = c.draw(lines, rest+"└─ ", rest+"   ")
		}
	}
	return lines
}
