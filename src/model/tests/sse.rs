//! Event streams: what the standard says, whatever the chunks, within bounds.

use std::time::Duration;

use proptest::prelude::*;

use crate::sse::{Bounds, Decoder, Event, SseError};

const WIDE: Bounds = Bounds { line: 4096, event: 4096, total: 1 << 20 };

fn decode<'c>(
    chunks: impl IntoIterator<Item = &'c [u8]>,
    bounds: Bounds,
) -> (Vec<Event>, Result<(), SseError>, Decoder) {
    let mut decoder = Decoder::new(bounds);
    let mut events = Vec::new();
    for mut chunk in chunks {
        loop {
            match decoder.next(&mut chunk) {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => return (events, Err(error), decoder),
            }
        }
    }
    (events, Ok(()), decoder)
}

fn events(text: &str) -> Vec<(String, String)> {
    let (events, ended, _) = decode([text.as_bytes()], WIDE);
    assert_eq!(ended, Ok(()));
    events.into_iter().map(|event| (event.name, event.data)).collect()
}

fn message(data: &str) -> (String, String) {
    ("message".to_owned(), data.to_owned())
}

#[test]
fn fields_are_read_as_the_standard_says() {
    for (text, wanted) in [
        ("data: a\n\n", vec![message("a")]),
        ("data:a\r\rdata: b\r\n\r\ndata:  c\n\n", vec![message("a"), message("b"), message(" c")]),
        ("data: a\ndata\ndata: b\n\n", vec![message("a\n\nb")]),
        ("data\n\ndata\ndata\n\ndata:", vec![message(""), message("\n")]),
        (": comment\n\n:data: x\nevent: named\n\ndata: a\n\n", vec![message("a")]),
        (
            "event: named\nevent: again\ndata: a\n\ndata: b\n\n",
            vec![("again".to_owned(), "a".to_owned()), message("b")],
        ),
        ("\u{feff}data: a\n\n\u{feff}data: b\n\n", vec![message("a")]),
        ("unknown: x\nDATA: x\n data: x\ndata: a\n\n", vec![message("a")]),
        ("data: cut off\n", vec![]),
    ] {
        assert_eq!(events(text), wanted, "{text:?}");
    }
}

#[test]
fn ids_and_times_are_kept_and_wrong_ones_ignored() {
    let text = "id: 7\nretry: 250\n\nid: 8\0\nretry: 1s\ndata: a\n\n";
    let (_, ended, decoder) = decode([text.as_bytes()], WIDE);
    assert_eq!((ended, decoder.last_id(), decoder.retry()), (Ok(()), "7", Some(Duration::from_millis(250))));
}

#[test]
fn each_bound_is_held_to_the_byte() {
    let ended = |text: &str, bounds| decode([text.as_bytes()], bounds).1;
    let line = Bounds { line: 7, ..WIDE };
    assert_eq!((ended("data: a\n\n", line), ended("data: ab\n\n", line)), (Ok(()), Err(SseError::TooLarge)));
    assert_eq!(ended(": open comm", line), Err(SseError::TooLarge), "before the line ends");
    let event = Bounds { event: 4, ..WIDE };
    assert_eq!(
        (ended("data:a\ndata:b\n", event), ended("data:a\ndata:bc\n", event)),
        (Ok(()), Err(SseError::TooLarge))
    );
    let total = Bounds { total: 8, ..WIDE };
    assert_eq!((ended("data:a\r\n", total), ended("data:a\r\n\n", total)), (Ok(()), Err(SseError::TooLarge)));
    assert_eq!(decode([&b"data: \xff\n"[..]], WIDE).1, Err(SseError::NotUtf8));
}

/// Lines of which streams are made, with ends of every kind.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        "data: ?[a-zé€😀 :]{0,12}",
        "event: ?[a-z]{0,6}",
        "id: [0-9]{0,3}",
        "retry: [0-9]{0,3}",
        ":[a-z]{0,5}",
        "data",
        "",
        "\\PC{0,10}",
    ];
    let end = prop_oneof![Just("\n"), Just("\r"), Just("\r\n")];
    let marked = any::<bool>();
    (marked, prop::collection::vec((line, end), 0..30)).prop_map(|(marked, lines)| {
        let mut text = String::from(if marked { "\u{feff}" } else { "" });
        for (line, end) in lines {
            text.push_str(&line);
            text.push_str(end);
        }
        text.into_bytes()
    })
}

/// The bytes cut at these places.
fn cut<'b>(bytes: &'b [u8], places: &[prop::sample::Index]) -> Vec<&'b [u8]> {
    let mut places: Vec<usize> = places.iter().map(|place| place.index(bytes.len() + 1)).collect();
    places.push(bytes.len());
    places.sort_unstable();
    let mut from = 0;
    places.into_iter().map(|to| &bytes[std::mem::replace(&mut from, to)..to]).collect()
}

proptest! {
    #[test]
    fn any_split_of_the_bytes_gives_the_same_events(
        bytes in stream(), places in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let whole = decode([bytes.as_slice()], WIDE);
        let parts = decode(cut(&bytes, &places), WIDE);
        let single = decode(bytes.chunks(1), WIDE);
        prop_assert_eq!((&whole.0, whole.1), (&parts.0, parts.1));
        prop_assert_eq!((&whole.0, whole.1), (&single.0, single.1));
        prop_assert_eq!((whole.2.last_id(), whole.2.retry()), (parts.2.last_id(), parts.2.retry()));
    }

    #[test]
    fn any_bytes_are_decoded_within_the_bounds(
        bytes in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b':'), Just(b'd'), any::<u8>()], 0..600),
        places in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
    ) {
        let bounds = Bounds { line: 20, event: 30, total: 400 };
        let whole = decode([bytes.as_slice()], bounds);
        let parts = decode(cut(&bytes, &places), bounds);
        prop_assert_eq!((&whole.0, whole.1.is_ok()), (&parts.0, parts.1.is_ok()));
        prop_assert!(whole.0.iter().all(|event| event.data.len() + event.name.len() <= 30 + "message".len()));
        prop_assert!(bytes.len() <= 400 || whole.1.is_err());
        prop_assert!(whole.2.held() <= 20 + 30 + 20, "{} bytes are held", whole.2.held());
    }
}
