//! What publishing, promoting and moving promise, on the memory engine.

mod moving;
mod pausing;
mod publishing;
mod records;

use std::{sync::Arc, time::Duration};

use colloquy_author::{Severity, inspect_sources, load_scenarios, scenario};
use colloquy_flow::Flow;
use colloquy_store::{ConversationStore, MemoryStore};
use colloquy_telemetry::Metrics;
use colloquy_turn::InputKind;
use colloquy_types::{ConversationKey, FlowName, RequestId, SystemClock, SystemEntropy, TenantId};
use tokio::time::Instant;

use crate::{
    Attribution, CommittedTurn, CompiledFlow, Dependencies, Described, Ending, Error, FlowAuthor, FlowCatalogue,
    FlowFault, FlowFile, FlowSources, PromoteFlow, Promoted, PublishFlow, Published, Runtime, RuntimeSettings,
    ScenarioMismatch, ScenarioResult, SubmitTurn,
};

/// The authors' tools, as the server joins them to the runtime.
pub(crate) struct Tools;

fn fault(fault: colloquy_author::Fault) -> FlowFault {
    FlowFault {
        id: fault.id.to_owned(),
        is_error: fault.severity == Severity::Error,
        file: fault.file,
        line: fault.line,
        column: fault.column,
        message: fault.message,
        path: fault.path,
        fix: fault.fix,
    }
}

impl FlowAuthor for Tools {
    fn replayer(&self, _: crate::FindFlow, _: Option<Arc<Flow>>) -> Box<dyn crate::Replayer> {
        panic!("nothing is replayed here: the server's tests do")
    }

    fn draw(&self, _: &Flow, _: crate::GraphDrawing) -> String {
        panic!("nothing is drawn here: the server's tests do")
    }

    fn compile(&self, sources: &FlowSources) -> CompiledFlow {
        let files = sources.files.iter().map(|file| (file.name.clone(), file.text.clone())).collect();
        let inspected = inspect_sources("test", files);
        let faults = inspected.faults.into_iter().map(fault).collect();
        CompiledFlow { name: inspected.name, source: inspected.source, flow: inspected.flow, faults }
    }

    fn play(
        &self,
        flow: &Arc<Flow>,
        scenarios: &str,
        _: &dyn Fn() -> bool,
    ) -> Result<Vec<ScenarioResult>, Vec<FlowFault>> {
        let scenarios = load_scenarios("scenarios.yaml", scenarios);
        let scenarios = scenarios.map_err(|faults| faults.into_iter().map(fault).collect::<Vec<_>>())?;
        let played = scenarios.iter().map(|one| ScenarioResult {
            name: one.name.clone(),
            mismatch: scenario::play(flow, one).err().map(|failure| ScenarioMismatch {
                turn: failure.turn as u32,
                what: failure.mismatch.what,
                expected: failure.mismatch.expected,
                got: failure.mismatch.got,
            }),
        });
        Ok(played.collect())
    }
}

/// A flow that begins in a hall, asks at a counter for a number, and ends. `GREETING` is said in the hall.
const DESK: &str = r#"format: colloquy.flow/v1
name: desk
start: hall.door
fallback: Pardon?
slots:
  number: {type: string, extract: '\b(?P<value>\d{4})\b'}
intents:
  hall:
    initial: door
    keep: [number]
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
responses:
  - {in: hall.door, exact: GREETING}
  - {in: counter.ask, exact: Which number?}
  - {in: counter.served, exact: Served.}
"#;

fn desk(greeting: &str) -> FlowSources {
    sources(&DESK.replace("GREETING", greeting), "")
}

fn sources(flow: &str, scenarios: &str) -> FlowSources {
    let file = FlowFile { name: "flow.yaml".to_owned(), text: flow.to_owned() };
    FlowSources { files: vec![file], scenarios: scenarios.to_owned() }
}

fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).unwrap()
}

/// A runtime and the store below it.
struct House {
    store: Arc<MemoryStore>,
    runtime: Runtime,
}

impl House {
    async fn new() -> Self {
        Self::on(MemoryStore::new(Arc::new(SystemEntropy))).await
    }

    async fn on(store: MemoryStore) -> Self {
        Self::with(store, RuntimeSettings::default()).await
    }

    async fn with(store: MemoryStore, settings: RuntimeSettings) -> Self {
        let store = Arc::new(store);
        let author: Arc<dyn FlowAuthor> = Arc::new(Tools);
        let flows = FlowCatalogue::open(store.as_ref(), &SystemClock, &SystemEntropy, &author, &[]).await.unwrap();
        let dependencies = Dependencies {
            store: Arc::clone(&store) as Arc<dyn ConversationStore>,
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            flows,
            author,
            metrics: Arc::new(Metrics::default()),
            outside: Arc::new(crate::Nowhere),
            store_facts: crate::StoreFacts::default(),
            idle: crate::IdleRetention::default(),
        };
        Self { store, runtime: Runtime::start(settings, dependencies).await.unwrap() }
    }

    /// The same store under a new process.
    async fn restart(self) -> Self {
        Self::on(self.store.reopen()).await
    }

    async fn publish(&self, owner: &str, sources: FlowSources) -> Result<Published, Error> {
        let attribution = Attribution { by: "ann".to_owned(), note: "a note".to_owned() };
        self.runtime.publish_flow(PublishFlow { tenant: tenant(owner), sources, attribution, deadline: soon() }).await
    }

    async fn promote_from(
        &self,
        owner: &str,
        revision: &str,
        expected_from: Option<Option<String>>,
    ) -> Result<Promoted, Error> {
        let promote = PromoteFlow {
            tenant: tenant(owner),
            flow: "desk".to_owned(),
            revision: revision.to_owned(),
            expected_from,
            attribution: Attribution { by: "bob".to_owned(), note: "why".to_owned() },
            deadline: soon(),
        };
        self.runtime.promote_flow(promote).await
    }

    async fn promote(&self, owner: &str, revision: &str) -> Result<Promoted, Error> {
        self.promote_from(owner, revision, None).await
    }

    /// Publishes and promotes; gives the revision.
    async fn release(&self, owner: &str, sources: FlowSources) -> String {
        let revision = self.publish(owner, sources).await.unwrap().revision.revision.to_string();
        self.promote(owner, &revision).await.unwrap();
        revision
    }

    async fn say(&self, conversation: &str, request_id: &str, text: &str) -> Result<Arc<CommittedTurn>, Error> {
        let turn = SubmitTurn {
            key: key(conversation),
            request_id: RequestId::parse(request_id).unwrap(),
            flow: Some(FlowName::parse("desk").unwrap()),
            subject: None,
            input: InputKind::Text,
            text: text.to_owned(),
            expected_seq: None,
            busy: None,
            deadline: soon(),
            trace: None,
        };
        match self.runtime.submit_turn(turn).await?.ending {
            Ending::Committed(turn) => Ok(turn),
            Ending::Closed { .. } | Ending::LeftOut { .. } => panic!("closed"),
        }
    }

    async fn describe(&self, conversation: &str) -> Box<Described> {
        self.runtime.describe(&key(conversation), soon()).await.unwrap()
    }
}

fn key(conversation: &str) -> ConversationKey {
    let (owner, conversation) = conversation.split_once('/').unwrap_or(("acme", conversation));
    ConversationKey::from_parts(owner, conversation).unwrap()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}
