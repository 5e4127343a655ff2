//! Every range, by its first and last address, and its neighbours.

use std::net::IpAddr;

use super::{AddressKind::*, kind_of};

fn kind(text: &str) -> Option<super::AddressKind> {
    kind_of(text.parse::<IpAddr>().unwrap())
}

#[test]
fn every_special_range_is_known_from_its_first_address_to_its_last() {
    let ranges = [
        ("0.0.0.0", "0.255.255.255", Unspecified),
        ("10.0.0.0", "10.255.255.255", Private),
        ("100.64.0.0", "100.127.255.255", Shared),
        ("127.0.0.0", "127.255.255.255", Loopback),
        ("169.254.0.0", "169.254.255.255", LinkLocal),
        ("169.254.169.254", "169.254.169.254", Metadata),
        ("169.254.170.2", "169.254.170.23", Metadata),
        ("100.100.100.200", "100.100.100.200", Metadata),
        ("192.0.0.192", "192.0.0.192", Metadata),
        ("172.16.0.0", "172.31.255.255", Private),
        ("192.0.0.0", "192.0.0.255", Reserved),
        ("192.0.2.0", "192.0.2.255", Reserved),
        ("192.88.99.0", "192.88.99.255", Reserved),
        ("192.168.0.0", "192.168.255.255", Private),
        ("198.18.0.0", "198.19.255.255", Reserved),
        ("198.51.100.0", "198.51.100.255", Reserved),
        ("203.0.113.0", "203.0.113.255", Reserved),
        ("224.0.0.0", "239.255.255.255", Multicast),
        ("240.0.0.0", "255.255.255.254", Reserved),
        ("255.255.255.255", "255.255.255.255", Multicast),
        ("::", "::", Unspecified),
        ("::1", "::1", Loopback),
        ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", Private),
        ("100::", "100::ffff:ffff:ffff:ffff", Reserved),
        ("2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", Reserved),
        ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", Reserved),
        ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", Reserved),
        ("4000::", "5fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Reserved),
        ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Private),
        ("fd00:ec2::254", "fd00:ec2::254", Metadata),
        ("fd20:ce::254", "fd20:ce::254", Metadata),
        ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", LinkLocal),
        ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Private),
        ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Multicast),
    ];
    for (first, last, wanted) in ranges {
        assert_eq!(kind(first), Some(wanted), "{first}");
        assert_eq!(kind(last), Some(wanted), "{last}");
    }
}

#[test]
fn what_lies_beside_a_range_is_public() {
    let public = [
        "1.0.0.0",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "192.0.3.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "203.0.112.255",
        "203.0.114.0",
        "223.255.255.255",
        "2000::",
        "2001:200::",
        "2001:4860:4860::8888",
        "2606:4700::1111",
        "3ffe::1",
        "3fff:1000::",
    ];
    for address in public {
        assert_eq!(kind(address), None, "{address}");
    }
}

#[test]
fn every_form_that_stands_for_an_ipv4_address_is_what_that_address_is() {
    let inner = [
        ("127.0.0.1", Some(Loopback)),
        ("10.1.2.3", Some(Private)),
        ("169.254.169.254", Some(Metadata)),
        ("100.64.0.1", Some(Shared)),
        ("224.0.0.1", Some(Multicast)),
        ("8.8.8.8", None),
    ];
    for (address, wanted) in inner {
        let [a, b, c, d] = address.parse::<std::net::Ipv4Addr>().unwrap().octets();
        let forms = [
            format!("::ffff:{address}"),
            format!("::ffff:0:{address}"),
            format!("::{address}"),
            format!("64:ff9b::{address}"),
            format!("2002:{a:02x}{b:02x}:{c:02x}{d:02x}::1"),
        ];
        for form in forms {
            assert_eq!(kind(&form), wanted, "{form}");
        }
    }
}

#[test]
fn metadata_link_local_multicast_and_the_rest_can_never_be_allowed() {
    let allowed: Vec<_> = [Loopback, Private, Shared, LinkLocal, Metadata, Multicast, Unspecified, Reserved]
        .into_iter()
        .filter(|kind| kind.can_be_allowed())
        .collect();
    assert_eq!(allowed, [Loopback, Private, Shared]);
}
