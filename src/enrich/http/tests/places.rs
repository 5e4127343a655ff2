//! Where a source may lead: the list, the addresses, and names that change what they mean.

use std::{sync::Arc, time::Duration};

use crate::{
    AddressKind, Denied, Error, Happened, HttpSettings, HttpSource, Lookup, Source as _, SystemLookup, UnreachableKind,
    testing::{Peer, Scripted, Silent, in_time, outbound},
};

use super::{ask, ask_shortly, call};

fn named(port: u16, allow_private: bool, lookup: Arc<dyn Lookup>) -> HttpSource {
    let settings = HttpSettings { url: format!("http://api.test:{port}/"), ..HttpSettings::default() };
    HttpSource::new(settings, outbound(&[("api.test", port)], allow_private, lookup)).unwrap()
}

#[test]
fn only_listed_places_can_be_named() {
    let allowed = [("api.test", 443), ("127.0.0.1", 80), ("[::1]", 8080)];
    let made = |url: &str, private| {
        let settings = HttpSettings { url: url.to_owned(), ..HttpSettings::default() };
        HttpSource::new(settings, outbound(&allowed, private, Arc::new(SystemLookup))).map(drop).map_err(|e| e.field)
    };
    for url in ["https://api.test/x", "https://API.test:443/", "http://127.0.0.1/", "http://[::1]:8080/"] {
        assert_eq!(made(url, true), Ok(()), "{url}");
    }
    for url in ["http://api.test/", "https://api.test:444/", "https://api.test.evil/", "http://127.0.0.2/"] {
        assert_eq!(made(url, true), Err("url"), "{url}");
    }
    // However an address is written, it is the one on the list, and is checked as an address.
    for url in ["http://127.0.0.1/", "http://2130706433/", "http://0x7f.1/", "http://[0:0::1]:8080/"] {
        assert_eq!(made(url, true), Ok(()), "{url}");
        assert_eq!(made(url, false), Err("url"), "{url}");
    }
}

#[tokio::test]
async fn a_name_that_leads_inside_is_denied_and_nothing_is_sent() {
    let mut peer = Peer::saying("200 OK", "", "").await;
    let cases: [(&[&str], AddressKind); 7] = [
        (&["127.0.0.1"], AddressKind::Loopback),
        (&["8.8.8.8", "127.0.0.1"], AddressKind::Loopback),
        (&["10.0.0.1"], AddressKind::Private),
        (&["169.254.169.254"], AddressKind::Metadata),
        (&["::ffff:127.0.0.1"], AddressKind::Loopback),
        (&["64:ff9b::a00:1"], AddressKind::Private),
        (&["2002:7f00:1::"], AddressKind::Loopback),
    ];
    for (addresses, kind) in cases {
        let source = named(peer.address.port(), false, Scripted::new(&[addresses]));
        let error = ask(&source, call("{}")).await.unwrap_err();
        assert_eq!(error, Error::Denied(Denied::Address(kind)), "{addresses:?}");
        assert_eq!(error.happened(), Happened::No);
        let checked = in_time(Duration::from_secs(5), |deadline| source.check(deadline)).await;
        assert_eq!(checked.unwrap_err(), Error::Denied(Denied::Address(kind)));
    }
    let metadata = named(peer.address.port(), true, Scripted::new(&[&["169.254.169.254"]]));
    assert_eq!(ask(&metadata, call("{}")).await.unwrap_err(), Error::Denied(Denied::Address(AddressKind::Metadata)));
    assert!(peer.seen().is_empty());
    peer.left_alone().await;
}

#[tokio::test]
async fn the_address_that_was_checked_is_the_one_connected_to() {
    let mut peer = Peer::start(crate::testing::Behaviour::End(crate::testing::response(
        "200 OK",
        "content-type: application/json\r\n",
        "1",
    )))
    .await;
    // The name means this server once, and the metadata service from then on.
    let lookup = Scripted::new(&[&["127.0.0.1"], &["169.254.169.254"]]);
    let source = named(peer.address.port(), true, lookup.clone());
    assert!(ask(&source, call("{}")).await.is_ok());
    assert_eq!(lookup.asked(), ["api.test"], "it was resolved once, and that answer was used");
    peer.left_alone().await;
    let error = ask(&source, call("{}")).await.unwrap_err();
    assert_eq!(error, Error::Denied(Denied::Address(AddressKind::Metadata)));
    assert_eq!((lookup.asked().len(), peer.seen().len()), (2, 1));
}

#[tokio::test]
async fn a_redirect_inside_is_not_followed() {
    let inside = Peer::saying("200 OK", "", "").await;
    let location = format!("location: {}\r\n", inside.url("/secret"));
    for status in ["301 Moved", "302 Found", "303 See Other", "307 Elsewhere", "308 Elsewhere"] {
        let peer = Peer::saying(status, &location, "").await;
        let error = ask(&super::source(&peer, |_| {}), call("{}")).await.unwrap_err();
        assert!(matches!(error, Error::Redirected { .. }), "{error}");
    }
    assert!(inside.seen().is_empty());
}

#[tokio::test]
async fn a_name_without_address_or_answer_was_never_sent() {
    let nowhere = named(80, true, Scripted::new(&[&[]]));
    let error = ask(&nowhere, call("{}")).await.unwrap_err();
    assert_eq!((error.happened(), error), (Happened::No, Error::Unreachable(UnreachableKind::Name)));
    let silent = named(80, true, Arc::new(Silent));
    let error = ask_shortly(&silent, call("{}")).await.unwrap_err();
    assert_eq!((error.happened(), error), (Happened::No, Error::TimedOut { sent: false }));
}

#[tokio::test]
async fn no_error_shows_where_it_went_or_what_it_carried() {
    let peer = Peer::saying("500 Broken", "", "tell-tale answer").await;
    let source = super::source(&peer, |settings| settings.url = peer.url("/tell-tale/{a}?key=tell-tale"));
    let error = ask(&source, call(r#"{"a":"tell-tale"}"#)).await.unwrap_err();
    assert!(!format!("{error} {error:?} {source:?}").contains("tell-tale"));
}
