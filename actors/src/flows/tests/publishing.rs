//! Publishing and promoting.

use super::*;

#[tokio::test]
async fn a_published_revision_is_listed_and_runs_only_once_it_is_promoted() {
    let house = House::new().await;
    let published = house.publish("acme", desk("Hello.")).await.unwrap();
    assert!(published.created);
    assert_eq!(house.say("c", "r-1", "hi").await.unwrap_err(), Error::FlowAbsent { name: "desk".to_owned() });
    let revision = published.revision.revision.to_string();
    let promoted = house.promote("acme", &revision[..8]).await.unwrap();
    assert!(promoted.changed);
    assert_eq!((promoted.promotion.from, promoted.promotion.to), (None, published.revision.revision));
    assert_eq!((promoted.promotion.by.as_str(), promoted.promotion.note.as_str()), ("bob", "why"));
    assert_eq!(house.say("c", "r-1", "hi").await.unwrap().record.reply.text, "Hello.");
    let listed = house.runtime.flow_revisions(&tenant("acme"), "desk", u64::MAX, 10);
    assert_eq!(listed.iter().map(|one| one.revision).collect::<Vec<_>>(), [published.revision.revision]);
    assert_eq!(listed[0].published_by, "ann");
    assert_eq!(house.runtime.promoted_revision(&tenant("acme"), "desk"), Some(published.revision.revision));
}

#[tokio::test]
async fn publishing_and_promoting_again_change_nothing() {
    let house = House::new().await;
    let revision = house.release("acme", desk("Hello.")).await;
    assert!(!house.publish("acme", desk("Hello.")).await.unwrap().created);
    assert!(!house.promote("acme", &revision).await.unwrap().changed);
    assert_eq!(house.runtime.flow_revisions(&tenant("acme"), "", u64::MAX, 10).len(), 1);
    assert_eq!(house.runtime.flow_promotions(&tenant("acme"), "", u64::MAX, 10).len(), 1);
}

#[tokio::test]
async fn sources_that_cannot_be_parsed_are_not_published() {
    let house = House::new().await;
    let Err(Error::FlowUnreadable { faults }) = house.publish("acme", sources("a: [", "")).await else {
        panic!("published")
    };
    assert_eq!(faults.iter().map(|fault| fault.id.as_str()).collect::<Vec<_>>(), ["yaml"]);
    assert!(house.runtime.flow_revisions(&tenant("acme"), "", u64::MAX, 10).is_empty());
}

#[tokio::test]
async fn a_revision_with_an_error_is_kept_and_not_promoted() {
    let house = House::new().await;
    let faulty = desk("Hello.").files.remove(0).text.replace("start: hall.door", "start: hall.gone");
    let published = house.publish("acme", sources(&faulty, "")).await.unwrap();
    assert!(published.revision.has_errors());
    let Err(Error::Unpromotable { faults, failures }) =
        house.promote("acme", &published.revision.revision.to_string()).await
    else {
        panic!("promoted")
    };
    assert_eq!(faults.iter().map(|fault| fault.id.as_str()).collect::<Vec<_>>(), ["unknown-state"]);
    assert!(failures.is_empty());
    // The same holds after a restart: what was wrong is found again.
    let house = house.restart().await;
    let again = house.promote("acme", &published.revision.revision.to_string()).await;
    assert!(matches!(again, Err(Error::Unpromotable { .. })), "{again:?}");
}

#[tokio::test]
async fn a_revision_with_a_failing_scenario_is_not_promoted_until_its_scenarios_are_right() {
    let house = House::new().await;
    let flow = desk("Hello.").files.remove(0).text;
    let scenario = |reply: &str| format!("scenarios:\n  - name: greet\n    turns: [{{say: hi, reply: {reply}}}]\n");
    let published = house.publish("acme", sources(&flow, &scenario("Bye."))).await.unwrap();
    let revision = published.revision.revision.to_string();
    let Err(Error::Unpromotable { faults, failures }) = house.promote("acme", &revision).await else {
        panic!("promoted")
    };
    assert!(faults.is_empty());
    let mismatch = failures[0].mismatch.as_ref().unwrap();
    assert_eq!((failures[0].name.as_str(), mismatch.turn, mismatch.got.as_str()), ("greet", 1, "Hello."));
    let mended = house.publish("acme", sources(&flow, &scenario("Hello."))).await.unwrap();
    assert_eq!((mended.created, mended.revision.revision), (true, published.revision.revision));
    assert!(house.promote("acme", &revision).await.unwrap().changed);
}

#[tokio::test]
async fn a_promotion_that_expects_another_revision_is_refused() {
    let house = House::new().await;
    let first = house.publish("acme", desk("One.")).await.unwrap().revision.revision.to_string();
    let second = house.publish("acme", desk("Two.")).await.unwrap().revision.revision.to_string();
    let wrong = house.promote_from("acme", &first, Some(Some(second.clone()))).await;
    assert_eq!(wrong.unwrap_err(), Error::PromotionConflict { promoted: None });
    house.promote_from("acme", &first, Some(None)).await.unwrap();
    let wrong = house.promote_from("acme", &second, Some(None)).await;
    assert_eq!(wrong.unwrap_err(), Error::PromotionConflict { promoted: Some(first.clone()) });
    house.promote_from("acme", &second, Some(Some(first))).await.unwrap();
}

#[tokio::test]
async fn of_many_promotions_that_expect_the_same_one_wins() {
    let house = House::new().await;
    let first = house.release("acme", desk("One.")).await;
    let mut others = Vec::new();
    for n in 0..8 {
        others.push(house.publish("acme", desk(&format!("Other {n}."))).await.unwrap().revision.revision.to_string());
    }
    let calls = others.iter().map(|other| house.promote_from("acme", other, Some(Some(first.clone()))));
    let ended = futures::future::join_all(calls).await;
    assert_eq!(ended.iter().filter(|ended| ended.is_ok()).count(), 1, "{ended:?}");
    assert_eq!(house.runtime.flow_promotions(&tenant("acme"), "desk", u64::MAX, 10).len(), 2);
}

#[tokio::test]
async fn an_unknown_or_ambiguous_revision_is_told_so() {
    let house = House::new().await;
    house.publish("acme", desk("One.")).await.unwrap();
    let unknown = house.promote("acme", "00000000").await.unwrap_err();
    assert_eq!(unknown, Error::RevisionAbsent { flow: "desk".to_owned(), revision: "00000000".to_owned() });
    house.publish("acme", desk("Two.")).await.unwrap();
    assert_eq!(house.promote("acme", "").await.unwrap_err(), Error::RevisionAmbiguous { digits: String::new() });
}

#[tokio::test]
async fn everything_survives_a_restart() {
    let house = House::new().await;
    let first = house.release("acme", desk("One.")).await;
    let second = house.release("acme", desk("Two.")).await;
    let rows = |house: &House| {
        let revisions = house.runtime.flow_revisions(&tenant("acme"), "", u64::MAX, 10);
        let revisions: Vec<_> = revisions.iter().map(|one| (one.number, one.revision, one.published_at)).collect();
        (revisions, house.runtime.flow_promotions(&tenant("acme"), "", u64::MAX, 10))
    };
    let before = rows(&house);
    assert_eq!(before.1.iter().map(|one| one.to.to_string()).collect::<Vec<_>>(), [second.clone(), first.clone()]);
    let house = house.restart().await;
    assert_eq!(rows(&house), before);
    assert_eq!(house.say("c", "r-1", "hi").await.unwrap().record.reply.text, "Two.");
    // And goes on: a rollback after the restart.
    house.promote("acme", &first).await.unwrap();
    let house = house.restart().await;
    assert_eq!(house.say("d", "r-1", "hi").await.unwrap().record.reply.text, "One.");
}

#[tokio::test]
async fn tenants_do_not_see_each_others_flows() {
    let house = House::new().await;
    let revision = house.release("acme", desk("One.")).await;
    assert_eq!(house.say("other/c", "r-1", "hi").await.unwrap_err(), Error::FlowAbsent { name: "desk".to_owned() });
    assert!(matches!(house.promote("other", &revision).await, Err(Error::RevisionAbsent { .. })));
    assert!(house.runtime.flow_revisions(&tenant("other"), "", u64::MAX, 10).is_empty());
    let house = house.restart().await;
    assert!(house.runtime.flow_promotions(&tenant("other"), "", u64::MAX, 10).is_empty());
    assert_eq!(house.say("other/c", "r-1", "hi").await.unwrap_err(), Error::FlowAbsent { name: "desk".to_owned() });
}

#[tokio::test]
async fn a_promotion_whose_outcome_was_unknown_is_what_the_store_says() {
    use colloquy_store::memory::Fault;
    for (fault, written) in [(Fault::UnknownWritten, true), (Fault::UnknownLost, false)] {
        let house = House::new().await;
        let first = house.release("acme", desk("One.")).await;
        let second = house.publish("acme", desk("Two.")).await.unwrap().revision.revision.to_string();
        house.store.fail_next(fault);
        assert_eq!(house.promote("acme", &second).await.unwrap_err(), Error::StoreUnavailable);
        // Sent again it ends well, and did something only if it had not been done.
        let again = house.promote("acme", &second).await.unwrap();
        assert_eq!((again.changed, again.promotion.to.to_string()), (!written, second));
        let promotions = house.runtime.flow_promotions(&tenant("acme"), "", u64::MAX, 10);
        assert_eq!(promotions.len(), 2, "{first}");
    }
}
