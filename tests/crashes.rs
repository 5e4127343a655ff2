//! kill -9 under load: what was acknowledged is there, once, in an intact chain.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use colloquy_store::{
    ConversationStore as _,
    journal::{JournalOptions, JournalStore},
};
use colloquy_types::{ConversationKey, SystemClock, SystemEntropy};
use tokio::task::JoinSet;

use crate::harness::{Place, turn};

const KILLS: usize = 20;
const CONVERSATIONS: usize = 16;

/// What a caller was told: conversation, request id, turn number.
type Acknowledged = Arc<Mutex<Vec<(usize, String, u64)>>>;

/// BO-11, CE-013: the turn log is what history is.
#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_turn_survives_twenty_kills_once() {
    let place = Place::new();
    let acknowledged = Acknowledged::default();
    for round in 0..KILLS {
        let mut server = place.start();
        let stop = Arc::new(AtomicBool::new(false));
        let mut callers = JoinSet::new();
        for conversation in 0..CONVERSATIONS {
            let (client, stop, acknowledged) = (server.client().await, Arc::clone(&stop), Arc::clone(&acknowledged));
            callers.spawn(async move {
                for n in 0.. {
                    let request_id = format!("k-{round}-{n}");
                    let said = turn(&format!("c-{conversation}"), &request_id, "cancel order A-1001");
                    match client.submit(&said).await {
                        Ok(answered) => {
                            let seq = answered.turn.unwrap().turn_seq;
                            acknowledged.lock().unwrap().push((conversation, request_id, seq));
                        }
                        Err(_) if stop.load(Ordering::SeqCst) => return,
                        Err(error) => panic!("refused while the server lived: {error}"),
                    }
                }
            });
        }
        // A kill at another moment each round, always under load.
        let before = acknowledged.lock().unwrap().len();
        let wanted = before + 40 + round * 13;
        let patience = Instant::now() + Duration::from_secs(30);
        while acknowledged.lock().unwrap().len() < wanted {
            assert!(Instant::now() < patience, "the server answers too slowly");
            tokio::task::yield_now().await;
        }
        stop.store(true, Ordering::SeqCst);
        server.kill();
        callers.join_all().await;
    }
    let told = std::mem::take(&mut *acknowledged.lock().unwrap());
    assert!(told.len() >= KILLS * 40);
    check_over_grpc(&place, &told).await;
    check_chains(&place).await;
}

async fn check_over_grpc(place: &Place, told: &[(usize, String, u64)]) {
    let server = place.start();
    let client = server.client().await;
    for conversation in 0..CONVERSATIONS {
        let key = colloquy_client::Key::new("acme", format!("c-{conversation}"));
        let (mut turns, mut from) = (Vec::new(), 1);
        while from != 0 {
            let page = client.turns(&key, from, 1000).await.unwrap();
            turns.extend(page.turns.into_iter().map(|turn| (turn.turn_seq, turn.request_id)));
            from = page.next_from_seq;
        }
        let seqs: Vec<_> = turns.iter().map(|(seq, _)| *seq).collect();
        assert_eq!(seqs, (1..=turns.len() as u64).collect::<Vec<_>>(), "gapless");
        let mut ids: Vec<_> = turns.iter().map(|(_, id)| id.clone()).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), turns.len(), "each request once");
        for (_, request_id, seq) in told.iter().filter(|(of, ..)| *of == conversation) {
            let stored = turns.get(usize::try_from(*seq).unwrap() - 1).map(|(_, id)| id);
            assert_eq!(stored, Some(request_id), "acknowledged turn {seq} of c-{conversation}");
        }
    }
    assert_eq!(server.terminate(), Some(0));
}

async fn check_chains(place: &Place) {
    let options = JournalOptions::new(place.data_dir());
    let store = JournalStore::open(&options, Arc::new(SystemClock), Arc::new(SystemEntropy)).unwrap();
    for conversation in 0..CONVERSATIONS {
        let key = ConversationKey::from_parts("acme", &format!("c-{conversation}")).unwrap();
        assert!(store.verify(&key).await.unwrap().turns > 0);
    }
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_on_the_same_folder_is_refused() {
    let place = Place::new();
    let _server = place.start();
    let data_dir = place.data_dir().display().to_string();
    let second = crate::harness::run(&[
        "serve",
        "--grpc-listen",
        "127.0.0.1:0",
        "--http-listen",
        "127.0.0.1:0",
        "--data-dir",
        &data_dir,
    ]);
    assert_eq!(second.status.code(), Some(5));
    assert!(crate::harness::stderr(&second).contains("in use by another process"));
}

/// SO-04: graceful stop.
#[tokio::test(flavor = "multi_thread")]
async fn sigterm_drains_and_ends_with_code_0() {
    let place = Place::new();
    let server = place.start();
    server.client().await.submit(&turn("c", "r-1", "hello")).await.unwrap();
    assert_eq!(server.terminate(), Some(0));
    let server = place.start();
    let answered = server.client().await.submit(&turn("c", "r-2", "hello")).await.unwrap();
    assert_eq!(answered.turn.unwrap().turn_seq, 2);
}
