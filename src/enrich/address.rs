//! Which addresses must not be reached: everything that is not plainly the public internet.
//!
//! Ranges are those of the IANA special-purpose address registries (RFC 6890) and the metadata services of the large
//! clouds. An IPv6 address that stands for an IPv4 one is what that one is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a special address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum AddressKind {
    /// This machine.
    #[error("loopback")]
    Loopback,
    /// A private network.
    #[error("private")]
    Private,
    /// A carrier's network (RFC 6598).
    #[error("carrier-grade NAT")]
    Shared,
    /// The local link.
    #[error("link-local")]
    LinkLocal,
    /// A cloud's metadata service.
    #[error("metadata")]
    Metadata,
    /// Many at once, broadcast included.
    #[error("multicast")]
    Multicast,
    /// None, or "this" network.
    #[error("unspecified")]
    Unspecified,
    /// Set aside: documentation, benchmarks, tunnels, the future.
    #[error("reserved")]
    Reserved,
}

impl AddressKind {
    /// Whether settings can allow it, with `allow_private`. The others never lead anywhere a source could be.
    pub const fn can_be_allowed(self) -> bool {
        matches!(self, Self::Loopback | Self::Private | Self::Shared)
    }
}

/// What kind of special address this is; none for one of the public internet.
pub fn kind_of(address: IpAddr) -> Option<AddressKind> {
    match address {
        IpAddr::V4(address) => kind_of_v4(address),
        IpAddr::V6(address) => kind_of_v6(address),
    }
}

fn kind_of_v4(address: Ipv4Addr) -> Option<AddressKind> {
    let kind = match address.octets() {
        [169, 254, 169, 254] | [169, 254, 170, 2 | 23] | [100, 100, 100, 200] | [192, 0, 0, 192] => {
            AddressKind::Metadata
        }
        [0, ..] => AddressKind::Unspecified,
        [127, ..] => AddressKind::Loopback,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => AddressKind::Private,
        [100, 64..=127, ..] => AddressKind::Shared,
        [169, 254, ..] => AddressKind::LinkLocal,
        [224..=239, ..] | [255, 255, 255, 255] => AddressKind::Multicast,
        [192, 0, 0 | 2, _]
        | [192, 31, 196, _]
        | [192, 52, 193, _]
        | [192, 88, 99, _]
        | [192, 175, 48, _]
        | [198, 18..=19, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _]
        | [240..=255, ..] => AddressKind::Reserved,
        _ => return None,
    };
    Some(kind)
}

fn kind_of_v6(address: Ipv6Addr) -> Option<AddressKind> {
    if address.is_unspecified() {
        return Some(AddressKind::Unspecified);
    }
    if address.is_loopback() {
        return Some(AddressKind::Loopback);
    }
    if let Some(inner) = embedded(address) {
        return kind_of_v4(inner);
    }
    let kind = match address.segments() {
        [0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254] | [0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254] => AddressKind::Metadata,
        [0xff00..=0xffff, ..] => AddressKind::Multicast,
        [0xfe80..=0xfebf, ..] => AddressKind::LinkLocal,
        // Unique local, and the site-local range that came before it.
        [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => AddressKind::Private,
        // Local-use NAT64 (RFC 8215): where the IPv4 address stands in it is the operator's choice.
        [0x0064, 0xff9b, 1, ..] => AddressKind::Private,
        // Protocol assignments (Teredo and ORCHID among them), documentation.
        [0x2001, 0..=0x01ff, ..] | [0x2001, 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => AddressKind::Reserved,
        // Everything else that is global unicast today (RFC 4291).
        [0x2000..=0x3fff, ..] => return None,
        _ => AddressKind::Reserved,
    };
    Some(kind)
}

/// The IPv4 address that an IPv6 address stands for.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let joined = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match address.segments() {
        // Mapped, translated (RFC 2765), compatible, NAT64 (RFC 6052), 6to4 (RFC 3056).
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0, 0, 0, 0, 0, 0, high, low]
        | [0x0064, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => Some(joined(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
