package ondisk

import (
	"container/list"
	"sync"

	"golang.org/x/sys/unix"
)

// A Cache keeps the files used last open. One that is in use is closed only
// after that, so that there may be a few more. The zero value keeps none that is
// not in use.
type Cache[K comparable] struct {
	// Most is how many files are kept open.
	Most int

	mu    sync.Mutex
	files map[K]*list.Element
	order list.List // of *File[K], used last in front
}

// A File is an open file of a cache, to be given back to it.
type File[K comparable] struct {
	FD  int
	Key K

	users int
	gone  bool // not in the cache any more
}

// Get gives the file of a key if it is open, else nil.
func (c *Cache[K]) Get(key K) *File[K] {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.getLocked(key)
}

// Has reports whether the file of a key is open.
func (c *Cache[K]) Has(key K) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.files[key]
	return ok
}

func (c *Cache[K]) getLocked(key K) *File[K] {
	e, ok := c.files[key]
	if !ok {
		return nil
	}
	c.order.MoveToFront(e)
	f := e.Value.(*File[K])
	f.users++
	return f
}

// Add takes over a descriptor and gives it as Get does. If somebody else has
// added one for the key meanwhile it is that.
func (c *Cache[K]) Add(key K, fd int) *File[K] {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.getLocked(key); f != nil {
		unix.Close(fd)
		return f
	}
	f := &File[K]{FD: fd, Key: key, users: 1}
	if c.files == nil {
		c.files = map[K]*list.Element{}
	}
	c.files[key] = c.order.PushFront(f)
	for e := c.order.Back(); e != nil && c.order.Len() > c.Most; {
		before := e.Prev()
		if e.Value.(*File[K]).users == 0 {
			c.removeLocked(e)
		}
		e = before
	}
	return f
}

// Put gives a file back.
func (c *Cache[K]) Put(f *File[K]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f.users--
	switch {
	case f.users > 0:
	case f.gone:
		unix.Close(f.FD)
	case c.order.Len() > c.Most:
		c.removeLocked(c.files[f.Key])
	}
}

// Drop closes the file of a key, if it is in use when it is given back.
func (c *Cache[K]) Drop(key K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.files[key]; ok {
		c.removeLocked(e)
	}
}

func (c *Cache[K]) removeLocked(e *list.Element) {
	f := c.order.Remove(e).(*File[K])
	delete(c.files, f.Key)
	f.gone = true
	if f.users == 0 {
		unix.Close(f.FD)
	}
}

// Close closes all files, those in use when they are given back.
func (c *Cache[K]) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for e := c.order.Front(); e != nil; e = c.order.Front() {
		c.removeLocked(e)
	}
}
