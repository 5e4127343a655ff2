//! The flows a server runs: the built-in examples, and the folders it is told of.

use std::path::PathBuf;

use colloquy_actors::GivenFlow;
use colloquy_author::{Fault, LoadedFlow, Scenario, load_folder, load_scenarios, load_sources};
use colloquy_types::TenantId;

/// A flow that is built into the binary.
pub(crate) struct BuiltIn {
    /// Its name.
    pub(crate) name: &'static str,
    files: &'static [(&'static str, &'static str)],
    scenarios: &'static str,
}

/// The files of an example flow, by their names.
macro_rules! built_in {
    ($name:literal: $($file:literal),+) => {
        BuiltIn {
            name: $name,
            files: &[$((concat!($name, "/", $file), include_str!(concat!("flows/", $name, "/", $file)))),+],
            scenarios: include_str!(concat!("flows/", $name, "/scenarios.yaml")),
        }
    };
}

/// The example flows.
pub(crate) const BUILT_IN: [BuiltIn; 5] = [
    built_in!("order-desk": "flow.yaml", "refunds.yaml", "responses.yaml"),
    built_in!("faq-desk": "flow.yaml", "responses.yaml"),
    built_in!("loan": "flow.yaml"),
    built_in!("support": "flow.yaml"),
    built_in!("inventory": "flow.yaml"),
];

impl BuiltIn {
    /// Compiles it.
    pub(crate) fn load(&self) -> Result<LoadedFlow, Vec<Fault>> {
        let files = self.files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        load_sources(self.name, files)
    }

    /// What it promises.
    pub(crate) fn scenarios(&self) -> Result<Vec<Scenario>, Vec<Fault>> {
        load_scenarios(&format!("{}/scenarios.yaml", self.name), self.scenarios)
    }
}

/// Loads the built-in flows and those of `folders`, which belong to `tenant`.
///
/// # Errors
/// Every fault of every flow.
pub(crate) fn load(folders: &[PathBuf], tenant: &TenantId) -> Result<Vec<GivenFlow>, Vec<Fault>> {
    let built_in = BUILT_IN.iter().map(|flow| (TenantId::shared(), flow.load()));
    let from_folders = folders.iter().map(|folder| (tenant.clone(), load_folder(folder)));
    let (mut flows, mut faults) = (Vec::new(), Vec::new());
    for (tenant, loaded) in built_in.chain(from_folders) {
        match loaded {
            Ok(LoadedFlow { flow, source, .. }) => flows.push(GivenFlow { tenant, flow, source }),
            Err(found) => faults.extend(found),
        }
    }
    if faults.is_empty() { Ok(flows) } else { Err(faults) }
}
