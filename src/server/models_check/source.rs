//! Looking at a source: whether it can be reached, and which tools it has.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use colloquy_actors::{SourceAdapter, SourceSpec};
use colloquy_enrich::{Error, Factory, Source, Tool};

use super::{Finding, fixes};

/// How long a server of tools may take to end in order.
const CLOSE: Duration = Duration::from_secs(2);

/// Looks at a source. Nothing is called.
pub(super) async fn check(spec: &SourceSpec, deadline: Instant) -> Finding {
    let mut finding = Finding::new("source", &spec.name);
    let looked = match &spec.adapter {
        SourceAdapter::Direct(source) => reach(source.as_ref(), deadline, &mut finding).await,
        SourceAdapter::Session(factory) => list(factory, deadline, &mut finding).await,
    };
    if let Err(error) = looked {
        finding.wrong(error.to_string(), fixes::of_source(&error, &spec.name));
    }
    finding
}

async fn reach(source: &dyn Source, deadline: Instant, finding: &mut Finding) -> Result<(), Error> {
    let checked = source.check(deadline).await?;
    finding.latency = Some(checked.latency);
    finding.tools = checked.tools;
    finding.features.push(("reached", true));
    Ok(())
}

async fn list(factory: &Factory, deadline: Instant, finding: &mut Finding) -> Result<(), Error> {
    let begun = Instant::now();
    let session = factory.connect(deadline).await?;
    finding.latency = Some(begun.elapsed());
    finding.tools = session.tools();
    session.close(Instant::now() + CLOSE).await;
    finding.features.push(("tools_listed", true));
    allowed_tools_can_be_called(factory.tools(), finding);
    Ok(())
}

/// A tool that is allowed and not there is misspelt; one whose arguments cannot be checked is never called.
fn allowed_tools_can_be_called(allowed: &[Arc<str>], finding: &mut Finding) {
    for name in allowed {
        match finding.tools.iter().find(|tool| tool.name == *name) {
            Some(Tool { checkable: true, .. }) => {}
            Some(_) => finding.wrong(
                format!("the arguments of `{name}` cannot be checked, so it is never called"),
                "have the server describe them by a JSON Schema without circular or remote references",
            ),
            None => {
                let there: Vec<_> = finding.tools.iter().map(|tool| tool.name.as_ref()).collect();
                let fix = format!("correct `enrichments.{}.tools`; it has {}", finding.name, there.join(", "));
                finding.wrong(format!("it has no tool `{name}`"), fix);
            }
        }
    }
}
