//! Pauses of a tenant, or of a revision that its conversations run.

use crate::{Client, ClientError, v1};

/// Which turns are paused or resumed, by whom and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Steer {
    /// Whose turns.
    pub tenant: String,
    /// Of which revision: the flow's name and the first 8 to 64 digits; none for all of the tenant's turns.
    pub revision: Option<(String, String)>,
    /// The idempotency key.
    pub request_id: String,
    /// Who asks.
    pub actor: String,
    /// Why.
    pub reason: String,
}

impl Steer {
    fn traffic(&self) -> Option<v1::Traffic> {
        let tenant = self.tenant.clone();
        let of = match &self.revision {
            None => v1::traffic::Of::Tenant(tenant),
            Some((flow, revision)) => v1::traffic::Of::Revision(v1::RevisionTraffic {
                tenant,
                flow: flow.clone(),
                revision: revision.clone(),
            }),
        };
        Some(v1::Traffic { of: Some(of) })
    }
}

impl Client {
    /// Has turns of a tenant or of a revision refused until they are resumed.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn pause_traffic(&self, steer: &Steer) -> Result<v1::PauseTrafficResponse, ClientError> {
        let traffic = steer.traffic();
        let Steer { request_id, actor, reason, .. } = steer.clone();
        let request = self.request(v1::PauseTrafficRequest { traffic, request_id, actor, reason }, None);
        Ok(self.operator.clone().pause_traffic(request).await?.into_inner())
    }

    /// Has them taken again. A request that was done before changes nothing: what holds is told.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn resume_traffic(&self, steer: &Steer) -> Result<v1::ResumeTrafficResponse, ClientError> {
        let traffic = steer.traffic();
        let Steer { request_id, actor, reason, .. } = steer.clone();
        let request = self.request(v1::ResumeTrafficRequest { traffic, request_id, actor, reason }, None);
        Ok(self.operator.clone().resume_traffic(request).await?.into_inner())
    }

    /// One page of the tenants and revisions that are paused.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn paused(&self, message: v1::ListPausedRequest) -> Result<v1::ListPausedResponse, ClientError> {
        let request = self.request(message, None);
        Ok(self.operator.clone().list_paused(request).await?.into_inner())
    }
}
