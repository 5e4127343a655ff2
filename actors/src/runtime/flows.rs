//! What the runtime does with flows: lint, publish, promote, list, show, play.

use std::sync::Arc;

use colloquy_flow::{By, Flow};
use colloquy_types::{Revision, TenantId};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use super::{Runtime, deadline_unknown};
use crate::{
    admission::Caller,
    error::Error,
    flows::{
        CompiledFlow, FlowRevision, FlowSources, GraphDrawing, Promotion, ScenarioResult,
        keeper::{Message, Promote, Publish},
        workshop::{Place, Stop},
    },
};

/// Who changes what a tenant has, and why; both as the caller says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attribution {
    /// Who.
    pub by: String,
    /// Why.
    pub note: String,
}

/// A flow as a caller publishes it.
#[derive(Clone, Debug)]
pub struct PublishFlow {
    /// Whose it will be.
    pub tenant: TenantId,
    /// Its sources.
    pub sources: FlowSources,
    /// Who publishes it.
    pub attribution: Attribution,
    /// When the caller no longer wants an answer.
    pub deadline: Instant,
}

/// A promotion as a caller asks for it.
#[derive(Clone, Debug)]
pub struct PromoteFlow {
    /// Whose it is.
    pub tenant: TenantId,
    /// The flow's name.
    pub flow: String,
    /// The published revision: all its hexadecimal digits, or the first of them.
    pub revision: String,
    /// What must be promoted until now: digits of a revision, or nothing. Not given, anything may be.
    pub expected_from: Option<Option<String>>,
    /// Who promotes it.
    pub attribution: Attribution,
    /// When the caller no longer wants an answer.
    pub deadline: Instant,
}

/// A published revision, and whether this call published it.
#[derive(Clone, Debug)]
pub struct Published {
    /// The revision.
    pub revision: Arc<FlowRevision>,
    /// Whether it was not published before, or with other scenarios.
    pub created: bool,
}

/// A promotion, and whether this call made it.
#[derive(Clone, Debug)]
pub struct Promoted {
    /// The promotion that holds.
    pub promotion: Arc<Promotion>,
    /// Whether another revision was promoted before.
    pub changed: bool,
}

/// Which flow of a tenant is asked about.
#[derive(Clone, Debug)]
pub struct FlowChoice {
    /// The tenant.
    pub tenant: TenantId,
    /// The flow's name.
    pub flow: String,
    /// Digits of a published revision; empty for what new conversations run.
    pub revision: String,
}

/// A state of a flow's graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphState {
    /// `intent.state`.
    pub position: String,
    /// Whether conversations begin here.
    pub start: bool,
    /// Whether its intent begins here.
    pub initial: bool,
    /// Whether nothing is underway here.
    pub terminal: bool,
    /// Whether a conversation may move to another revision here.
    pub boundary: bool,
}

/// A declared transition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphEdge {
    /// From where.
    pub from: String,
    /// To where.
    pub to: String,
    /// Who may propose it.
    pub by: Vec<&'static str>,
}

/// The states of a flow and the declared transitions between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransitionGraph {
    /// The revision.
    pub revision: Revision,
    /// The states, in declared order.
    pub states: Vec<GraphState>,
    /// The transitions, by where they lead from, in declared order.
    pub edges: Vec<GraphEdge>,
}

impl Runtime {
    /// Tells what is wrong with sources; keeps nothing.
    ///
    /// # Errors
    /// [`Error::Overloaded`] and [`Error::DeadlineExceeded`].
    pub async fn lint_flow(&self, sources: FlowSources, deadline: Instant) -> Result<CompiledFlow, Error> {
        let _place = self.flow_work()?;
        self.compile(sources, deadline).await
    }

    /// Keeps a revision, faulty or not, and tells what is wrong with it. What is published already is not
    /// published again.
    ///
    /// # Errors
    /// [`Error::FlowUnreadable`] when the sources cannot be parsed or give no name; [`Error::TooLarge`] when they do not
    /// fit a record.
    pub async fn publish_flow(&self, publish: PublishFlow) -> Result<Published, Error> {
        let place = self.flow_work()?;
        let PublishFlow { tenant, sources, attribution, deadline } = publish;
        let scenarios = sources.scenarios.clone();
        let mut compiled = self.compile(sources, deadline).await?;
        let (Some(name), Some((revision, source))) = (compiled.name.clone(), compiled.source.take()) else {
            return Err(Error::FlowUnreadable { faults: compiled.faults });
        };
        let (caller, answer) = Caller::new(place);
        let Attribution { by, note } = attribution;
        let message = Publish { tenant, name, revision, source, scenarios, compiled, by, note, deadline, caller };
        self.tell_keeper(Message::Publish(Box::new(message)))?;
        let (revision, created) = answered(deadline, answer).await?;
        Ok(Published { revision, created })
    }

    /// Makes a published revision the one that the tenant's conversations run: new ones at once, older ones from
    /// their next boundary on.
    ///
    /// # Errors
    /// [`Error::Unpromotable`] when the revision has errors or a scenario fails; [`Error::PromotionConflict`] when not what
    /// was expected is promoted; [`Error::RevisionAbsent`].
    pub async fn promote_flow(&self, promote: PromoteFlow) -> Result<Promoted, Error> {
        let place = self.flow_work()?;
        let PromoteFlow { tenant, flow, revision, expected_from, attribution, deadline } = promote;
        let resolve = |digits: &str| self.shared.flows.resolve(tenant.as_str(), &flow, digits);
        let checked = resolve(&revision)?;
        let expected_from = match expected_from {
            Some(Some(digits)) => Some(Some(resolve(&digits)?)),
            Some(None) => Some(None),
            None => None,
        };
        self.check_promotable(&checked, deadline).await?;
        let (caller, answer) = Caller::new(place);
        let Attribution { by, note } = attribution;
        let message = Promote { tenant, checked, expected_from, by, note, deadline, caller };
        self.tell_keeper(Message::Promote(Box::new(message)))?;
        let (promotion, changed) = answered(deadline, answer).await?;
        Ok(Promoted { promotion, changed })
    }

    async fn check_promotable(&self, revision: &FlowRevision, deadline: Instant) -> Result<(), Error> {
        let (flow, scenarios) = (revision.flow.clone(), Arc::clone(&revision.scenarios));
        let Some(flow) = flow.filter(|_| !revision.has_errors()) else {
            let faults = revision.faults.iter().filter(|fault| fault.is_error).cloned().collect();
            return Err(Error::Unpromotable { faults, failures: Vec::new() });
        };
        let results = self.play(flow, scenarios, deadline).await?;
        let failures: Vec<_> = results.into_iter().filter(|result| result.mismatch.is_some()).collect();
        if failures.is_empty() { Ok(()) } else { Err(Error::Unpromotable { faults: Vec::new(), failures }) }
    }

    /// The tenant's published revisions below `below`, the latest first; all flows' when `flow` is empty.
    pub fn flow_revisions(&self, tenant: &TenantId, flow: &str, below: u64, limit: usize) -> Vec<Arc<FlowRevision>> {
        self.shared.flows.revisions(tenant.as_str(), flow, below, limit)
    }

    /// The tenant's promotions below `below`, the latest first; all flows' when `flow` is empty.
    pub fn flow_promotions(&self, tenant: &TenantId, flow: &str, below: u64, limit: usize) -> Vec<Arc<Promotion>> {
        self.shared.flows.promotions(tenant.as_str(), flow, below, limit)
    }

    /// The revision that the tenant has promoted under this name.
    pub fn promoted_revision(&self, tenant: &TenantId, flow: &str) -> Option<Revision> {
        self.shared.flows.promoted_revision(tenant.as_str(), flow)
    }

    /// The states of a flow and the declared transitions between them.
    ///
    /// # Errors
    /// [`Error::FlowAbsent`], [`Error::RevisionAbsent`], [`Error::RevisionAmbiguous`], and [`Error::Unpromotable`] when
    /// the revision has errors.
    pub fn transition_graph(&self, choice: &FlowChoice) -> Result<TransitionGraph, Error> {
        Ok(graph_of(&self.chosen(choice)?.0))
    }

    /// The same graph, drawn.
    ///
    /// # Errors
    /// As [`Runtime::transition_graph`]; [`Error::Overloaded`] and [`Error::DeadlineExceeded`].
    pub async fn draw_transitions(
        &self,
        choice: &FlowChoice,
        drawing: GraphDrawing,
        deadline: Instant,
    ) -> Result<(Revision, String), Error> {
        let _place = self.flow_work()?;
        let (flow, _) = self.chosen(choice)?;
        let (author, revision) = (Arc::clone(&self.shared.author), flow.revision());
        Ok((revision, self.shared.workshop.run(deadline, move |_| author.draw(&flow, drawing)).await?))
    }

    /// Plays the scenarios that were published with a revision, or else those given.
    ///
    /// # Errors
    /// As [`Runtime::transition_graph`]; [`Error::FlowUnreadable`] when the scenarios cannot be read.
    pub async fn run_scenarios(
        &self,
        choice: &FlowChoice,
        given: Option<String>,
        deadline: Instant,
    ) -> Result<(Revision, Vec<ScenarioResult>), Error> {
        let _place = self.flow_work()?;
        let (flow, published) = self.chosen(choice)?;
        let revision = flow.revision();
        let scenarios = given.map_or(published, Into::into);
        Ok((revision, self.play(flow, scenarios, deadline).await?))
    }

    /// The flow that is asked about, and the scenarios published with it.
    pub(super) fn chosen(&self, choice: &FlowChoice) -> Result<(Arc<Flow>, Arc<str>), Error> {
        let (flows, tenant) = (&self.shared.flows, choice.tenant.as_str());
        if choice.revision.is_empty() {
            let found = flows.current(tenant, &choice.flow);
            let found = found.ok_or_else(|| Error::FlowAbsent { name: choice.flow.clone() })?;
            let published = flows.published(&found.tenant, found.flow.revision());
            return Ok((found.flow, published.map_or_else(|| "".into(), |known| Arc::clone(&known.scenarios))));
        }
        let known = flows.resolve(tenant, &choice.flow, &choice.revision)?;
        match &known.flow {
            Some(flow) => Ok((Arc::clone(flow), Arc::clone(&known.scenarios))),
            None => Err(Error::Unpromotable { faults: known.faults.clone(), failures: Vec::new() }),
        }
    }

    pub(super) fn flow_work(&self) -> Result<Place, Error> {
        if self.shared.is_draining() {
            return Err(Error::Draining);
        }
        self.shared.workshop.admit()
    }

    async fn compile(&self, sources: FlowSources, deadline: Instant) -> Result<CompiledFlow, Error> {
        let author = Arc::clone(&self.shared.author);
        self.shared.workshop.run(deadline, move |_| author.compile(&sources)).await
    }

    async fn play(
        &self,
        flow: Arc<Flow>,
        scenarios: Arc<str>,
        deadline: Instant,
    ) -> Result<Vec<ScenarioResult>, Error> {
        if scenarios.is_empty() {
            return Ok(Vec::new());
        }
        let author = Arc::clone(&self.shared.author);
        let playing = move |stop: &Stop| author.play(&flow, &scenarios, &|| stop.is_told());
        let played = self.shared.workshop.run(deadline, playing).await?;
        played.map_err(|faults| Error::FlowUnreadable { faults })
    }

    pub(super) fn tell_keeper(&self, message: Message) -> Result<(), Error> {
        let keeper = self.shared.keeper().ok_or(Error::Draining)?;
        keeper.send_message(message).map_err(|_| Error::Restarted)
    }
}

pub(super) async fn answered<T>(deadline: Instant, answer: oneshot::Receiver<Result<T, Error>>) -> Result<T, Error> {
    match timeout_at(deadline, answer).await {
        Ok(answered) => answered.map_err(|_| Error::Restarted)?,
        Err(_) => Err(deadline_unknown()),
    }
}

fn graph_of(flow: &Flow) -> TransitionGraph {
    let states = flow.states().map(|(at, state)| GraphState {
        position: state.full_name.to_string(),
        start: at == flow.start_state(),
        initial: at == flow.intent(state.intent).initial,
        terminal: state.terminal,
        boundary: state.boundary,
    });
    let edges = flow.transitions().map(|(from, to, mask)| GraphEdge {
        from: flow.state(from).full_name.to_string(),
        to: flow.state(to).full_name.to_string(),
        by: By::ALL.into_iter().filter(|by| mask.allows(*by)).map(By::name).collect(),
    });
    TransitionGraph { revision: flow.revision(), states: states.collect(), edges: edges.collect() }
}
