//! Ranges of client addresses, in the order that a search needs.

use std::{
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::Invalid;

/// IPv4 clients that came over IPv6: `::ffff:0:0/96`.
const MAPPED_PREFIX: u8 = 96;

/// Joined and sorted: an address is looked up in logarithmic time, however many ranges there are.
#[derive(Debug, Default)]
pub(super) struct Networks {
    v4: Box<[Ipv4Net]>,
    v6: Box<[Ipv6Net]>,
}

impl Networks {
    /// From CIDRs and single addresses. `field` is named by the error.
    pub(super) fn compile(field: &str, texts: &[String]) -> Result<Self, Invalid> {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for text in texts {
            let range = IpNet::from_str(text).or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            match range {
                Ok(IpNet::V4(range)) => v4.push(range),
                Ok(IpNet::V6(range)) => match unmapped(range) {
                    Some(range) => v4.push(range),
                    None => v6.push(range),
                },
                Err(_) => return Err(Invalid(format!("{field}: {text:?} is no address range"))),
            }
        }
        // Sorts them too.
        Ok(Networks { v4: Ipv4Net::aggregate(&v4).into(), v6: Ipv6Net::aggregate(&v6).into() })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    pub(super) fn contains(&self, address: IpAddr) -> bool {
        // Ranges do not overlap: only the last that begins at or before the address can hold it.
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let after = self.v4.partition_point(|range| range.network() <= address);
                after.checked_sub(1).is_some_and(|last| self.v4[last].contains(&address))
            }
            IpAddr::V6(address) => {
                let after = self.v6.partition_point(|range| range.network() <= address);
                after.checked_sub(1).is_some_and(|last| self.v6[last].contains(&address))
            }
        }
    }
}

/// The IPv4 range that an IPv6 one stands for: clients are compared by their IPv4 addresses.
fn unmapped(range: Ipv6Net) -> Option<Ipv4Net> {
    let length = range.prefix_len().checked_sub(MAPPED_PREFIX)?;
    let network: Ipv6Addr = range.network();
    Ipv4Net::new(network.to_ipv4_mapped()?, length).ok()
}

#[cfg(test)]
mod tests {
    use super::Networks;

    fn holds(ranges: &[&str], address: &str) -> bool {
        let ranges: Vec<String> = ranges.iter().map(|&range| range.to_owned()).collect();
        Networks::compile("x", &ranges).unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn addresses_are_found_in_their_ranges_alone() {
        let ranges = [
            "10.1.0.0/16",
            "10.0.0.0/16",
            "192.0.2.7",
            "10.1.2.0/24",
            "2001:db8::/32",
            "::ffff:198.51.100.0/120",
        ];
        for inside in [
            "10.0.0.0",
            "10.1.255.255",
            "192.0.2.7",
            "::ffff:10.0.3.4",
            "2001:db8:ffff::1",
            "198.51.100.9",
            "::ffff:198.51.100.9",
        ] {
            assert!(holds(&ranges, inside), "{inside}");
        }
        for outside in
            ["9.255.255.255", "10.2.0.0", "192.0.2.6", "192.0.2.8", "2001:db9::1", "::1", "198.51.101.0"]
        {
            assert!(!holds(&ranges, outside), "{outside}");
        }
        assert!(holds(&["0.0.0.0/0"], "1.2.3.4") && !holds(&["0.0.0.0/0"], "::1"));
        assert!(holds(&["::/0"], "::1") && !holds(&["::/0"], "1.2.3.4"));
        assert!(!holds(&[], "1.2.3.4"));
    }

    #[test]
    fn agrees_with_each_range_by_itself() {
        // Neighbours, nested ranges and gaps around each border.
        let ranges: Vec<String> = (0..200_u32)
            .map(|n| format!("{}/{}", std::net::Ipv4Addr::from(n.wrapping_mul(0x9e37_79b9)), 8 + n % 25))
            .collect();
        let all = Networks::compile("x", &ranges).unwrap();
        for n in 0..20_000_u32 {
            let address = std::net::Ipv4Addr::from(n.wrapping_mul(0x0001_9660).wrapping_add(n));
            let wanted =
                ranges.iter().any(|range| range.parse::<ipnet::Ipv4Net>().unwrap().contains(&address));
            assert_eq!(all.contains(address.into()), wanted, "{address}");
        }
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for bad in ["", "10.0.0.0/33", "example.com", "10.0.0"] {
            let error = Networks::compile("field", &[bad.to_owned()]).unwrap_err().to_string();
            assert!(error.starts_with("field: "), "{error}");
        }
    }
}
