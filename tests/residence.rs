//! Conversations leave memory, and nobody who calls them notices.

use std::time::{Duration, Instant};

use colloquy_client::{Key, v1};
use tokio::task::JoinSet;

use crate::harness::{Place, turn};

/// P2, P11: no more conversations in memory than may be, and each goes on where it stood.
#[tokio::test(flavor = "multi_thread")]
async fn many_conversations_share_the_memory_of_few() {
    let place = Place::new();
    let config = place.path().join("colloquy.toml");
    std::fs::write(&config, "[conversations]\nactive_max = 20\nactivations = 4\n").unwrap();
    let server = place.start_with(&["--config", &config.display().to_string()]);
    let client = server.client().await;
    for (round, text) in ["cancel order A-1001", "yes", "hello"].into_iter().enumerate() {
        let mut callers = JoinSet::new();
        for caller in 0..8 {
            let client = client.clone();
            callers.spawn(async move {
                for n in (caller..200).step_by(8) {
                    let said = turn(&format!("c-{n}"), &format!("r-{round}"), text);
                    let answered = client.submit(&said).await.unwrap().turn.unwrap();
                    assert_eq!(answered.turn_seq, round as u64 + 1);
                    if text == "yes" {
                        assert_eq!((answered.intent.as_str(), answered.state.as_str()), ("cancel", "done"));
                    }
                }
            });
        }
        callers.join_all().await;
        let give_up = Instant::now() + Duration::from_secs(30);
        loop {
            let active = client.runtime().await.unwrap().conversations_active;
            if active <= 20 {
                assert!(active >= 10, "no more leave than must: {active}");
                break;
            }
            assert!(Instant::now() < give_up, "{active} are in memory");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let metrics = server.get("/metrics").unwrap();
    let passivations =
        metrics.lines().find_map(|line| line.strip_prefix(r#"colloquy_passivations_total{cause="watermark"} "#));
    assert!(passivations.and_then(|number| number.parse::<u64>().ok()).unwrap() >= 3 * 180, "{metrics}");
    assert!(server.get("/ready").unwrap().contains("200 OK"));
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_put_conversations_to_rest_and_see_that_none_is_quarantined() {
    let place = Place::new();
    let server = place.start();
    let client = server.client().await;
    let key = Key::new("acme", "c");
    assert!(!client.passivate(&key).await.unwrap(), "it is not in memory");
    client.submit(&turn("c", "r-0", "hello")).await.unwrap();
    assert!(client.passivate(&key).await.unwrap());
    assert_eq!(client.runtime().await.unwrap().conversations_active, 0);
    assert_eq!(client.submit(&turn("c", "r-1", "hello")).await.unwrap().turn.unwrap().turn_seq, 2);
    let page = client.quarantined(v1::ListQuarantinedRequest::default()).await.unwrap();
    assert_eq!((page.rows.len(), page.total), (0, 0));
    assert!(!client.release(&key).await.unwrap());
    let bad = v1::ListQuarantinedRequest { tenant: "no tenant".into(), page_size: 1001, ..Default::default() };
    assert_eq!(client.quarantined(bad).await.unwrap_err().reason(), "INVALID_FIELD");
    assert_eq!(client.passivate(&Key::new("", "c")).await.unwrap_err().reason(), "INVALID_FIELD");
}
