package overlay

// Device gives the number of a device; of what is none it is 0, 0.
func (a *Attr) Device() (major, minor uint32) {
	return a.Rdev >> 8 & 0xfff, a.Rdev&0xff | a.Rdev>>12&0xfff00
}
