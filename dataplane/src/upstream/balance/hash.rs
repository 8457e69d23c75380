//! A hash that is the same in every process and every version: dataplanes must agree on where a key belongs.
//!
//! It need not resist anybody. Who wants many keys at one endpoint can send one key again and again.

use std::net::{IpAddr, SocketAddr};

/// FNV-1a, finished so that each bit of the text moves each bit of the hash.
pub(super) fn of_bytes(bytes: &[u8]) -> u64 {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold))
}

pub(crate) fn of_address(address: SocketAddr) -> u64 {
    let mut bytes = [0; 18];
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => bytes[..4].copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => bytes[..16].copy_from_slice(&ip.octets()),
    }
    bytes[16..].copy_from_slice(&address.port().to_be_bytes());
    of_bytes(&bytes)
}

/// Of an endpoint, for a key.
pub(super) fn rank(key: u64, endpoint: u64) -> u64 {
    mix(key ^ endpoint)
}

/// The finisher of SplitMix64.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
