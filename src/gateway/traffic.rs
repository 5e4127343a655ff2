//! Pauses of a tenant or of a revision: what must hold of the requests, the calls, and how they are told.

use colloquy_actors::{Attribution, PauseTraffic, PausedRevision, RevisionChoice, Runtime, TrafficPause, TrafficReply};
use colloquy_proto::v1::{self, traffic::Of};
use colloquy_types::{FlowName, TenantId};
use tonic::{Status, metadata::MetadataMap};

use crate::{deadline, log::Operation, status, validate::Faults};

/// What a pause and the end of one are asked with.
pub(crate) struct Asked {
    pub(crate) traffic: Option<v1::Traffic>,
    pub(crate) request_id: String,
    pub(crate) actor: String,
    pub(crate) reason: String,
    pub(crate) paused: bool,
}

impl Faults {
    fn named<T, E: std::fmt::Display>(&mut self, field: &'static str, parsed: Result<T, E>) -> Option<T> {
        parsed.map_or_else(|invalid| self.add(field, invalid.to_string()), Some)
    }

    /// Which turns are meant: whose, and of which revision.
    fn traffic(&mut self, traffic: Option<v1::Traffic>) -> Option<(TenantId, Option<RevisionChoice>)> {
        match traffic.and_then(|traffic| traffic.of) {
            None => self.add("traffic", "is required: give traffic.tenant or traffic.revision"),
            Some(Of::Tenant(tenant)) => Some((self.named("traffic.tenant", TenantId::parse(&tenant))?, None)),
            Some(Of::Revision(v1::RevisionTraffic { tenant, flow, revision })) => {
                let tenant = self.named("traffic.revision.tenant", TenantId::parse(&tenant));
                let name = self.named("traffic.revision.flow", FlowName::parse(&flow));
                let digits = self.digits("traffic.revision.revision", &revision, false);
                let (tenant, _, digits) = (tenant?, name?, digits?);
                Some((tenant, Some(RevisionChoice { flow, digits })))
            }
        }
    }
}

/// Checks a request.
///
/// # Errors
/// INVALID_ARGUMENT naming every field that is wrong.
fn checked(asked: Asked, deadline: tokio::time::Instant) -> Result<PauseTraffic, Status> {
    let Asked { traffic, request_id, actor, reason, paused } = asked;
    let mut faults = Faults::default();
    let (traffic, request_id) = (faults.traffic(traffic), faults.request_id(&request_id));
    let (by, reason) = (faults.actor(actor), faults.reason(reason));
    let pause = (|| {
        let ((tenant, revision), request_id) = (traffic?, request_id?);
        let attribution = Attribution { by: by?, note: reason? };
        Some(PauseTraffic { tenant, revision, request_id, paused, attribution, deadline })
    })();
    faults.finish(pause)
}

/// Pauses or resumes, and leaves a line in the log.
pub(crate) async fn steer(
    runtime: &Runtime,
    metadata: &MetadataMap,
    asked: Asked,
    operation: Operation,
) -> Result<TrafficReply, Status> {
    let on = match asked.traffic.as_ref().and_then(|traffic| traffic.of.as_ref()) {
        None => String::new(),
        Some(Of::Tenant(tenant)) => tenant.clone(),
        Some(Of::Revision(v1::RevisionTraffic { tenant, flow, revision })) => format!("{tenant}/{flow}@{revision}"),
    };
    let operation = operation.on(&on).request(&asked.request_id).by(&asked.actor).because(&asked.reason);
    let steered = match checked(asked, deadline::of_call(metadata, runtime.settings())) {
        Ok(pause) => runtime.pause_traffic(pause).await.map_err(|error| status::status(&error, "")),
        Err(invalid) => Err(invalid),
    };
    operation.ended(steered)
}

/// A pause as it is told.
pub(crate) fn pause(pause: &TrafficPause) -> v1::TrafficPause {
    let TrafficPause { number, tenant, revision, since, by, reason } = pause;
    let (flow, revision) = match revision {
        None => (String::new(), String::new()),
        Some(PausedRevision { flow, revision }) => (flow.to_string(), revision.to_string()),
    };
    let (tenant, actor, reason) = (tenant.to_string(), by.clone(), reason.clone());
    v1::TrafficPause { tenant, flow, revision, number: *number, since_us: since.as_micros(), actor, reason }
}

#[cfg(test)]
mod tests {
    use tonic_types::StatusExt as _;

    use super::*;

    fn revision() -> v1::RevisionTraffic {
        v1::RevisionTraffic { tenant: "acme".to_owned(), flow: "desk".to_owned(), revision: "9F86d081".to_owned() }
    }

    fn asked(of: Of) -> Asked {
        let (request_id, actor) = ("p-1".to_owned(), "ann".to_owned());
        Asked { traffic: Some(v1::Traffic { of: Some(of) }), request_id, actor, reason: String::new(), paused: true }
    }

    fn faults(asked: Asked) -> Vec<String> {
        let Err(status) = checked(asked, tokio::time::Instant::now()) else { return Vec::new() };
        let details = status.get_error_details();
        details.bad_request().unwrap().field_violations.iter().map(|one| one.field.clone()).collect()
    }

    #[test]
    fn a_pause_names_every_field_that_is_wrong() {
        let none: [&str; 0] = [];
        assert_eq!(faults(asked(Of::Tenant("acme".to_owned()))), none);
        assert_eq!(faults(asked(Of::Revision(revision()))), none);
        assert_eq!(faults(Asked { traffic: None, ..asked(Of::Revision(revision())) }), ["traffic"]);
        let empty = Some(v1::Traffic { of: None });
        assert_eq!(faults(Asked { traffic: empty, ..asked(Of::Revision(revision())) }), ["traffic"]);
        // What is shared cannot be paused for everybody.
        assert_eq!(faults(asked(Of::Tenant("_".to_owned()))), ["traffic.tenant"]);
        let bad = |revision| faults(asked(Of::Revision(revision)));
        assert_eq!(bad(v1::RevisionTraffic { tenant: "a/b".to_owned(), ..revision() }), ["traffic.revision.tenant"]);
        assert_eq!(bad(v1::RevisionTraffic { flow: String::new(), ..revision() }), ["traffic.revision.flow"]);
        assert_eq!(bad(v1::RevisionTraffic { revision: "9f86".into(), ..revision() }), ["traffic.revision.revision"]);
        let all = Asked {
            request_id: "a b".to_owned(),
            actor: String::new(),
            reason: "r".repeat(1025),
            ..asked(Of::Tenant(String::new()))
        };
        assert_eq!(faults(all), ["traffic.tenant", "request_id", "actor", "reason"]);
    }

    #[test]
    fn digits_are_looked_up_in_lower_case() {
        let pause = checked(asked(Of::Revision(revision())), tokio::time::Instant::now()).unwrap();
        assert_eq!(pause.revision.unwrap().digits, "9f86d081");
    }
}
