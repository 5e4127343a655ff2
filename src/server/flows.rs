//! The flows a server runs: the built-in examples, and the folders it is told of.

use std::path::PathBuf;

use colloquy_actors::GivenFlow;
use colloquy_author::{Fault, LoadedFlow, Scenario, load_folder, load_scenarios, load_sources};
use colloquy_types::TenantId;

/// A flow that is built into the binary.
pub(crate) struct BuiltIn {
    /// Its name.
    pub(crate) name: &'static str,
    files: [(&'static str, &'static str); 2],
    scenarios: &'static str,
}

/// The example flows.
pub(crate) const BUILT_IN: [BuiltIn; 2] = [
    BuiltIn {
        name: "order-desk",
        files: [
            ("order-desk/flow.yaml", include_str!("flows/order-desk/flow.yaml")),
            ("order-desk/responses.yaml", include_str!("flows/order-desk/responses.yaml")),
        ],
        scenarios: include_str!("flows/order-desk/scenarios.yaml"),
    },
    BuiltIn {
        name: "faq-desk",
        files: [
            ("faq-desk/flow.yaml", include_str!("flows/faq-desk/flow.yaml")),
            ("faq-desk/responses.yaml", include_str!("flows/faq-desk/responses.yaml")),
        ],
        scenarios: include_str!("flows/faq-desk/scenarios.yaml"),
    },
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
