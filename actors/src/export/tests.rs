//! An export holds what was committed when it began, whole, with the sources it needs and within its bounds.

use colloquy_author::{LoadedFlow, load_sources, scenario::ScriptedWorld};
use colloquy_store::{Batch, MemoryStore};
use colloquy_turn::{ConversationState, open_conversation};
use colloquy_types::{SystemEntropy, TenantId, Timestamp, codec};
use tokio::sync::{Semaphore, oneshot};

use super::*;
use crate::flows::{RevisionRecord, flows_key};

const NOW: Timestamp = Timestamp::from_micros(1);

fn faq_desk() -> LoadedFlow {
    let [flow, responses] = ["flow.yaml", "responses.yaml"].map(|file| {
        let path = format!("{}/../src/server/flows/faq-desk/{file}", env!("CARGO_MANIFEST_DIR"));
        (file.to_owned(), std::fs::read_to_string(path).unwrap())
    });
    load_sources("faq-desk", vec![flow, responses]).unwrap()
}

/// A conversation that is written to the store turn by turn.
struct Written {
    store: Arc<MemoryStore>,
    loaded: LoadedFlow,
    world: ScriptedWorld,
    key: ConversationKey,
    state: ConversationState,
}

impl Written {
    fn new() -> Self {
        let loaded = faq_desk();
        Self {
            store: Arc::new(MemoryStore::new(Arc::new(SystemEntropy))),
            world: ScriptedWorld::default(),
            key: ConversationKey::from_parts("acme", "c").unwrap(),
            state: open_conversation(&loaded.flow),
            loaded,
        }
    }

    async fn append(&self, key: &ConversationKey, created: &[u8], records: &[(RecordKind, Vec<u8>)]) {
        let opened = self.store.open(key).await.unwrap();
        let mut batch = Batch::new(&opened.lease, &opened.head);
        if opened.created.is_none() {
            batch.push_created(NOW, [1; 16], key, created).unwrap();
        }
        for (kind, payload) in records {
            batch.push(*kind, NOW, [2; 16], payload).unwrap();
        }
        let (done, ended) = oneshot::channel();
        self.store.append(&opened.lease, batch, Box::new(move |result| done.send(result).unwrap()));
        ended.await.unwrap().unwrap();
    }

    async fn say(&mut self, turns: usize) {
        let created = CreatedRecord {
            flow: self.loaded.flow.name().clone(),
            flow_tenant: "_".to_owned(),
            revision: self.loaded.flow.revision(),
            created_at: NOW,
            subject: None,
            origin: None,
        };
        for _ in 0..turns {
            let outcome = self.world.turn(&self.loaded.flow, self.state.clone(), "when do you open?");
            self.state = outcome.state;
            let turn = [(RecordKind::Turn, outcome.record.encode().unwrap())];
            self.append(&self.key, &created.encode().unwrap(), &turn).await;
        }
    }

    async fn keep_source(&self, tenant: &str) {
        let tenant = if tenant == "_" { TenantId::shared() } else { TenantId::parse(tenant).unwrap() };
        let record = RevisionRecord::V1 {
            name: "faq-desk".to_owned(),
            revision: self.loaded.flow.revision(),
            source: self.loaded.source.clone(),
        };
        let key = flows_key(&tenant);
        self.append(&key, &[], &[(RecordKind::Revision, codec::encode(&record).unwrap())]).await;
    }

    async fn export(&self, known: &[Revision]) -> Result<Export, Error> {
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let known = known.iter().copied().collect();
        Export::open(self.store.clone(), &self.key, known, Duration::from_secs(5), permit).await
    }
}

#[tokio::test]
async fn a_record_without_a_body_needs_no_source_and_is_exported_as_it_is() {
    let mut written = Written::new();
    written.say(1).await;
    let page = written.store.history(&written.key, Head::default(), 9).await.unwrap();
    for mut row in page.records {
        assert!(revision_of(&row).unwrap().is_some());
        (row.record.header.erased, row.record.payload) = (true, Vec::new());
        assert_eq!(revision_of(&row), Ok(None));
    }
}

#[tokio::test]
async fn an_export_ends_when_its_conversation_is_erased() {
    let mut written = Written::new();
    written.keep_source("_").await;
    written.say(PAGE_RECORDS + 40).await;
    let mut export = written.export(&[]).await.unwrap();
    written.append(&written.key, &[], &[(RecordKind::Erased, Vec::new())]).await;
    let ended = loop {
        match export.next().await {
            Ok(Some(_)) => {}
            ended => break ended,
        }
    };
    assert_eq!(ended, Err(Error::ConversationErased));
}

async fn rest(export: &mut Export) -> Vec<ExportEvent> {
    let mut events = Vec::new();
    while let Some(event) = export.next().await.unwrap() {
        events.push(event);
    }
    events
}

#[tokio::test]
async fn an_export_of_several_pages_ends_where_the_history_stood_when_it_began() {
    let mut written = Written::new();
    written.keep_source("_").await;
    written.say(PAGE_RECORDS + 40).await;
    let mut export = written.export(&[]).await.unwrap();
    let Some(ExportEvent::Begun { created, head, .. }) = export.next().await.unwrap() else { panic!("not begun") };
    written.say(3).await;
    let events = rest(&mut export).await;
    let source = written.loaded.source.clone();
    assert_eq!(events.first(), Some(&ExportEvent::Revision { revision: created.revision, source }));
    let numbers: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            ExportEvent::Record(row) => Some(row.record.header.record_no.get()),
            _ => None,
        })
        .collect();
    assert_eq!(numbers, (1..=head.record_no.get()).collect::<Vec<_>>());
    let records = PAGE_RECORDS as u64 + 41;
    assert_eq!((head.record_no.get(), events.last()), (records, Some(&ExportEvent::Ended { records })));
}

#[tokio::test]
async fn a_source_is_sent_once_and_not_when_it_is_known_and_found_in_the_tenants_own_stream_too() {
    let mut written = Written::new();
    written.keep_source("acme").await;
    written.say(2).await;
    let revision = written.loaded.flow.revision();
    let sources = async |known: &[Revision]| {
        let events = rest(&mut written.export(known).await.unwrap()).await;
        events.iter().filter(|event| matches!(event, ExportEvent::Revision { .. })).count()
    };
    assert_eq!(sources(&[]).await, 1);
    assert_eq!(sources(&[revision]).await, 0);
}

#[tokio::test]
async fn a_source_of_another_tenant_is_not_found() {
    let mut written = Written::new();
    written.keep_source("umbrella").await;
    written.say(1).await;
    let mut export = written.export(&[]).await.unwrap();
    export.next().await.unwrap();
    let revision = written.loaded.flow.revision().to_string();
    assert_eq!(export.next().await, Err(Error::RevisionUnavailable { flow: "faq-desk".to_owned(), revision }));
}

#[tokio::test]
async fn an_absent_conversation_is_told_when_the_export_is_opened() {
    assert!(matches!(Written::new().export(&[]).await, Err(Error::ConversationAbsent)));
}

#[tokio::test]
async fn places_for_exports_are_bounded_and_come_back() {
    let mut written = Written::new();
    written.say(1).await;
    let flows = crate::FlowCatalogue::new();
    flows.insert("_", Arc::clone(&written.loaded.flow));
    let dependencies = crate::Dependencies {
        store: written.store.clone(),
        clock: Arc::new(colloquy_types::SystemClock),
        entropy: Arc::new(SystemEntropy),
        flows,
        author: Arc::new(crate::flows::tests::Tools),
        metrics: Arc::default(),
        outside: Arc::new(crate::Nowhere),
        store_facts: crate::StoreFacts::default(),
        idle: crate::IdleRetention::default(),
    };
    let runtime = crate::Runtime::start(crate::RuntimeSettings::default(), dependencies).await.unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    let open = || runtime.export(&written.key, HashSet::new(), deadline);
    let mut exports = Vec::new();
    for _ in 0..EXPORTS_MAX {
        exports.push(open().await.unwrap());
    }
    assert_eq!(open().await.err(), Some(overloaded()));
    exports.pop();
    assert!(open().await.is_ok());
}
