//! A server on a free port in this process, over a store that outlives it.

use std::{sync::Arc, time::Duration};

use colloquy_actors::{Dependencies, FlowAuthor, FlowCatalogue, Nowhere, Outside, Runtime, RuntimeSettings};
use colloquy_client::{Client, Key, Turn, v1};
use colloquy_gateway::GatewaySettings;
use colloquy_store::{ConversationStore, MemoryStore};
use colloquy_telemetry::Metrics;
use colloquy_types::{SystemClock, SystemEntropy};
use tokio::{
    net::TcpListener,
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, timeout},
};

use crate::authoring::Tools;

/// How long anything may take on a busy machine.
pub(super) const DEADLINE: Duration = Duration::from_secs(30);

/// A counter behind a hall: structured input, follow-ups, a source that cannot be reached, and a model's JSON.
pub(super) const KIOSK: &str = r#"format: colloquy.flow/v1
name: kiosk
start: hall.door
fallback: Pardon?
slots:
  number: {type: string, extract: '\b(?P<value>\d{4})\b'}
enrichments:
  queue: {source: queue, in: counter.*, timeout: 200ms, default: {waiting: 0}}
intents:
  hall:
    initial: door
    states: {door: {terminal: true}}
  counter:
    classify: {keywords: [[counter]]}
    initial: ask
    collect: [number]
    states: {ask: {}, served: {terminal: true}}
transitions:
  - {from: "*", to: hall.door, by: rule}
  - {from: "*", to: counter.ask, by: intent}
  - {from: counter.ask, to: counter.served, by: rule}
rules:
  - {id: served, in: counter.ask, when: has(slots.number), then: [{go: counter.served}]}
prompts:
  advise: {purpose: respond, system: Be brief., user: "{{ text }}", variables: [text], timeout: 1s}
progress:
  - {stage: enrich, in: counter.*, text: Looking how long the queue is …}
responses:
  - in: hall.door
    when: text == 'advise me'
    model:
      prompt: advise
      max_chars: 200
      schema: {type: object, properties: {text: {type: string}, minutes: {type: integer}}, required: [text]}
      failed: Later.
    follow_ups: [Thank you]
  - {in: hall.door, exact: GREETING, follow_ups: [To the counter, Goodbye]}
  - {in: counter.ask, exact: Which number?}
  - {in: counter.served, template: "Served {{ slots.number }}."}
"#;

/// The kiosk with its greeting.
pub(super) fn kiosk(greeting: &str) -> String {
    KIOSK.replace("GREETING", greeting)
}

/// The sources of a flow of one file.
pub(super) fn sources(flow: &str, scenarios: &str) -> v1::FlowSources {
    let file = v1::FlowFile { name: "flow.yaml".to_owned(), text: flow.to_owned() };
    v1::FlowSources { files: vec![file], scenarios: scenarios.to_owned() }
}

/// A conversation of the one tenant.
pub(super) fn key(conversation: &str) -> Key {
    Key::new("acme", conversation)
}

/// A running server and its client.
pub(super) struct House {
    store: Arc<MemoryStore>,
    runtime: Runtime,
    pub(super) client: Client,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Result<(), colloquy_gateway::Error>>,
}

impl House {
    /// A server over an empty store that can reach nothing.
    pub(super) async fn new() -> Self {
        Self::on(MemoryStore::new(Arc::new(SystemEntropy)), Arc::new(Nowhere)).await
    }

    /// A server over what an earlier one wrote.
    pub(super) async fn on(store: MemoryStore, outside: Arc<dyn Outside>) -> Self {
        let store = Arc::new(store);
        let author: Arc<dyn FlowAuthor> = Arc::new(Tools);
        let flows = FlowCatalogue::open(store.as_ref(), &SystemClock, &SystemEntropy, &author, &[]).await.unwrap();
        let metrics = Arc::new(Metrics::default());
        let dependencies = Dependencies {
            store: Arc::clone(&store) as Arc<dyn ConversationStore>,
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            flows,
            author,
            metrics: Arc::clone(&metrics),
            outside,
            store_facts: colloquy_actors::StoreFacts::default(),
            idle: colloquy_actors::IdleRetention::default(),
        };
        let runtime = Runtime::start(RuntimeSettings::default(), dependencies).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async move { drop(stopped.await) };
        let settings = GatewaySettings::default();
        let served = tokio::spawn(colloquy_gateway::serve(listener, settings, runtime.clone(), metrics, stopped));
        let client = Client::connect(&address, DEADLINE).await.unwrap();
        Self { store, runtime, client, stop, served }
    }

    /// A server that runs the kiosk, promoted.
    pub(super) async fn with_kiosk() -> Self {
        let house = Self::new().await;
        house.release(&kiosk("Come in.")).await;
        house
    }

    /// Ends the server and starts another over the same store, which can reach nothing.
    pub(super) async fn restart(self) -> Self {
        drop(self.client);
        self.runtime.drain(Instant::now() + DEADLINE).await;
        self.stop.send(()).unwrap();
        timeout(DEADLINE, self.served).await.unwrap().unwrap().unwrap();
        Self::on(self.store.reopen(), Arc::new(Nowhere)).await
    }

    /// Keeps a revision.
    pub(super) async fn publish(&self, flow: &str, scenarios: &str) -> v1::PublishFlowResponse {
        let sources = Some(sources(flow, scenarios));
        let (tenant, actor) = ("acme".to_owned(), "ann".to_owned());
        let message = v1::PublishFlowRequest { tenant, sources, actor, note: String::new() };
        self.client.publish_flow(message).await.unwrap()
    }

    /// Publishes and promotes; gives the revision.
    pub(super) async fn release(&self, flow: &str) -> String {
        let revision = self.publish(flow, "").await.revision.unwrap().revision;
        assert!(self.client.promote_flow(promotion(&revision)).await.unwrap().changed);
        revision
    }

    /// Sends a text to the kiosk.
    pub(super) async fn say(&self, conversation: &str, request_id: &str, text: &str) -> v1::Turn {
        let turn = Turn::new(key(conversation), request_id, "kiosk", text);
        self.client.submit(&turn).await.unwrap().turn.unwrap()
    }
}

/// The promotion of a revision of the kiosk.
pub(super) fn promotion(revision: &str) -> v1::PromoteFlowRequest {
    v1::PromoteFlowRequest {
        tenant: "acme".to_owned(),
        flow: "kiosk".to_owned(),
        revision: revision.to_owned(),
        expected_from: None,
        actor: "bob".to_owned(),
        note: String::new(),
    }
}
