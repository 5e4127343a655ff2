//! Which models are asked for what.

use colloquy_flow::Purpose;

use crate::settings::{
    fault::Report,
    file::Placed,
    table::{Entry, Shape, Table},
};

/// Most models of one route.
const MODELS_MAX: usize = 8;
/// Longest name of a model, with its provider's.
const NAME_BYTES_MAX: usize = 256;

const MODELS: &str = "a list of 1 to 8 models, each `provider/model` or `scripted`";

/// What the table of routes holds.
pub(in crate::settings) static ROUTES: Shape = Shape {
    entries: &[
        Entry::may(
            "default",
            "scripted",
            MODELS,
            "who answers what has no route of its own; `scripted` without any route",
        ),
        Entry::may("classify", "local/small", MODELS, "who recognises intents, the first first"),
        Entry::may("extract", "local/small", MODELS, "who reads slots"),
        Entry::may("respond", "local/large", MODELS, "who writes replies"),
        Entry::may("summarise", "local/small", MODELS, "who shortens what was said"),
    ],
    tables: &[],
};

/// One model of a route.
#[derive(Clone, Debug)]
pub(super) struct Route {
    /// Where it stands.
    pub(super) place: String,
    /// The setting.
    pub(super) key: String,
    /// The model's name.
    pub(super) model: String,
}

/// The routes of every purpose, in the order of [`Purpose::ALL`].
pub(super) type Purposes = [Vec<Route>; 4];

/// Reads the routes; without any, the scripted model answers everything.
pub(super) fn read(report: &mut Report, placed: Option<Placed>) -> Purposes {
    let Some(mut table) = placed.and_then(|placed| Table::open(report, "models.routes".to_owned(), placed, &ROUTES))
    else {
        report.holds("models.routes", "default = [\"scripted\"]", "default");
        let route = Route {
            place: "default".to_owned(),
            key: "models.routes.default".to_owned(),
            model: "scripted".to_owned(),
        };
        return Purpose::ALL.map(|_| vec![route.clone()]);
    };
    let default = route(&mut table, report, "default");
    let routes = Purpose::ALL.map(|purpose| {
        let own = route(&mut table, report, purpose.name());
        own.or_else(|| default.clone()).unwrap_or_else(|| {
            no_purpose_is_left_out(&table, report, purpose);
            Vec::new()
        })
    });
    table.finish(report);
    routes
}

/// What nobody is asked for would degrade every turn that needs it, and nobody would know why.
fn no_purpose_is_left_out(table: &Table, report: &mut Report, purpose: Purpose) {
    let fix = format!("write `{} = [...]`, or a `default` for all; `[\"scripted\"]` calls nobody", purpose.name());
    table.fault(report, purpose.name(), "has no model, and there is no default", fix);
}

fn route(table: &mut Table, report: &mut Report, name: &'static str) -> Option<Vec<Route>> {
    let named = |text: &str| {
        let fits = (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| text.to_owned())
    };
    let models = table.list(report, name, named)?;
    let key = format!("{}.{name}", table.path);
    if models.is_empty() || models.len() > MODELS_MAX {
        let problem = format!("has {} models, which is not {MODELS}", models.len());
        table.fault(report, name, problem, format!("write {MODELS}"));
    }
    once_each(report, &key, &models);
    Some(models.into_iter().map(|(place, model)| Route { place, key: key.clone(), model }).collect())
}

/// Asking a model that just failed once more is what retries are for.
fn once_each(report: &mut Report, key: &str, models: &[(String, String)]) {
    for (number, (place, model)) in models.iter().enumerate() {
        if models.iter().take(number).any(|(_, earlier)| earlier == model) {
            report.fault(
                place,
                key,
                format!("`{model}` stands here twice"),
                "take it away; a flow's retries try again",
            );
        }
    }
}
