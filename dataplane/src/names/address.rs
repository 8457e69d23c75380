//! Which addresses of a name may be connected to, and which can be.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use ipnet::IpNet;

/// Where clouds answer questions about the machine that asks, besides link-local addresses: AWS, Alibaba, Azure, Oracle.
const METADATA: [IpAddr; 4] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
];

/// Without those that lead to the dataplane itself, its link, its cloud's metadata or nowhere: a name that somebody else
/// chose must not. `allowed` are taken all the same.
pub(super) fn usable(found: &[IpAddr], allowed: &[IpNet]) -> Vec<IpAddr> {
    let is_usable = |address: &&IpAddr| {
        let plain = plain(**address);
        !is_refused(plain) || allowed.iter().any(|range| range.contains(&plain))
    };
    found.iter().filter(is_usable).copied().collect()
}

fn is_refused(address: IpAddr) -> bool {
    let is_special = match address {
        IpAddr::V4(address) => {
            // `0.0.0.0/8` is this host (RFC 1122, 3.2.1.3).
            address.octets()[0] == 0
                || address.is_loopback()
                || address.is_link_local()
                || address.is_multicast()
                || address.is_broadcast()
        }
        IpAddr::V6(address) => {
            address.is_unspecified()
                || address.is_loopback()
                || address.is_unicast_link_local()
                || address.is_multicast()
        }
    };
    is_special || METADATA.contains(&address)
}

/// What an IPv6 address stands for, where it stands for one of IPv4: mapped, compatible, of 6to4 or of NAT64 (RFC 6052).
fn plain(address: IpAddr) -> IpAddr {
    let IpAddr::V6(six) = address else { return address };
    let four = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match six.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => address,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => four(high, low),
        [0x2002, high, low, ..] => four(high, low),
        _ => address,
    }
}

/// Those that there is a route to; all, if there is none to any. Many networks have no IPv6, and each request to an
/// address of it would fail first.
pub(super) fn with_route(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let reachable: Vec<IpAddr> = addresses.iter().copied().filter(|address| has_route(*address)).collect();
    if reachable.is_empty() { addresses } else { reachable }
}

/// Nothing is sent: connecting a socket of UDP only asks for the route.
fn has_route(address: IpAddr) -> bool {
    let any = match address {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    UdpSocket::bind(SocketAddr::new(any, 0))
        .and_then(|socket| socket.connect(SocketAddr::new(address, 53)))
        .is_ok()
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::{usable, with_route};

    fn taken(address: &str, allowed: &[&str]) -> bool {
        let address: IpAddr = address.parse().unwrap();
        let allowed: Vec<_> = allowed.iter().map(|range| range.parse().unwrap()).collect();
        !usable(&[address], &allowed).is_empty()
    }

    #[test]
    fn what_leads_to_the_dataplane_or_its_cloud_is_refused() {
        for address in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "224.0.0.1",
            "255.255.255.255",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "::",
            "::1",
            "fe80::1",
            "ff02::1",
            "fd00:ec2::254",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "64:ff9b::169.254.169.254",
            "2002:7f00:1::",
        ] {
            assert!(!taken(address, &["10.0.0.0/8"]), "{address}");
        }
        for address in ["10.0.0.1", "192.168.1.1", "203.0.113.1", "2001:db8::1", "fd00::1", "::ffff:10.0.0.1"]
        {
            assert!(taken(address, &[]), "{address}");
        }
        assert!(taken("127.0.0.1", &["127.0.0.0/8"]) && taken("::ffff:127.0.0.1", &["127.0.0.0/8"]));
    }

    #[test]
    fn what_has_no_route_is_the_last_resort() {
        let (here, nowhere): (IpAddr, IpAddr) = ("127.0.0.1".parse().unwrap(), "ff00::".parse().unwrap());
        // Whatever this machine's network is, multicast without an interface can't be had before loopback.
        assert!(with_route(vec![here, nowhere]).contains(&here));
        assert_eq!(with_route(vec![nowhere]), [nowhere]);
    }
}
