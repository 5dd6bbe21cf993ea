package registry

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"syscall"
)

// isLoopback says that a host, with a port or without, is this machine by its
// name or address.
func isLoopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// inner says that an address is of this machine, or of the link that clouds
// give secrets on.
func inner(u *url.URL) bool {
	ip, err := netip.ParseAddr(u.Hostname())
	return isLoopback(u.Host) || err == nil && innerIP(ip)
}

func innerIP(ip netip.Addr) bool {
	ip = ip.Unmap()
	return ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsUnspecified()
}

// A dialer connects to a registry, to its proxy and to where it sends its
// clients: that must not be this machine either by a name that leads here.
type dialer struct {
	net.Dialer
	host    string   // of the registry, with a port or without
	proxies sync.Map // addresses of proxies that are used
}

// proxy is [http.ProxyFromEnvironment], remembered.
func (d *dialer) proxy(req *http.Request) (*url.URL, error) {
	u, err := http.ProxyFromEnvironment(req)
	if u != nil {
		d.proxies.Store(u.Hostname(), true)
	}
	return u, err
}

func (d *dialer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	_, proxy := d.proxies.Load(host)
	own, _, err := net.SplitHostPort(d.host)
	if err != nil {
		own = strings.Trim(d.host, "[]")
	}
	if proxy || host == own || isLoopback(d.host) {
		return d.DialContext(ctx, network, addr)
	}
	guarded := d.Dialer
	guarded.Control = func(_, address string, _ syscall.RawConn) error {
		if at, err := netip.ParseAddrPort(address); err != nil || innerIP(at.Addr()) {
			return fmt.Errorf("%s sends to %s, which is this machine", d.host, host)
		}
		return nil
	}
	return guarded.DialContext(ctx, network, addr)
}
