//! What a running server writes to its log.

use std::fs;

use crate::harness::{Place, turn};

/// Said by the user in every way in which text reaches a server; must never be in a log.
const SAID: &str = "my-secret-4711";

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_logged_as_json_with_their_request_ids_and_without_what_was_said() {
    let place = Place::new();
    let log = place.path().join("log");
    let server = place.start_logging(&["--log-format", "json", "--log-filter", "debug"], &log);
    let client = server.client().await;
    client.submit(&turn("c", "id-committed", SAID)).await.unwrap();
    let mut stream = client.stream(&turn("c", "id-streamed", SAID)).await.unwrap();
    while stream.message().await.unwrap().is_some() {}
    client.submit(&turn("c", "id-streamed", "another text")).await.unwrap_err();
    client.submit(&turn("c", "id-invalid", &format!("{SAID}\u{7}"))).await.unwrap_err();
    assert_eq!(server.terminate(), Some(0));

    let text = fs::read_to_string(&log).unwrap();
    assert!(!text.contains(SAID), "the log tells what was said");
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let messages = |id: &str| -> Vec<_> {
        let of_id = lines.iter().filter(|line| line["request_id"] == id && line["key"] == "acme/c");
        of_id.map(|line| line["message"].as_str().unwrap()).collect()
    };
    assert_eq!(messages("id-committed"), ["turn committed"]);
    assert_eq!(messages("id-streamed"), ["turn committed", "call refused"]);
    let ours: Vec<_> = lines.iter().filter_map(|line| line["message"].as_str()).collect();
    assert!(ours.contains(&"serving") && ours.contains(&"draining") && ours.contains(&"stopped"), "{ours:?}");
}
