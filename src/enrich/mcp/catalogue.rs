//! The tools of a server: listed page by page within bounds, kept with the checks of their arguments.

use std::{collections::BTreeMap, sync::Arc};

use rmcp::{Peer, RoleClient, model::PaginatedRequestParams};

use crate::{
    error::{Error, MalformedKind},
    port::Tool,
};

use super::{arguments::ArgumentCheck, fault};

/// Most tools of a server.
const TOOLS_MAX: usize = 1_024;
/// Most pages they come in.
const PAGES_MAX: usize = 64;
/// Longest name of a tool, in bytes.
const NAME_BYTES_MAX: usize = 128;

/// The tools of a server.
#[derive(Debug, Default)]
pub(super) struct Catalogue {
    tools: BTreeMap<Arc<str>, Entry>,
}

#[derive(Debug)]
struct Entry {
    tool: Tool,
    check: Option<ArgumentCheck>,
}

impl Catalogue {
    /// Asks the server. Schemas are compiled only of tools that are allowed.
    pub(super) async fn fetch(peer: &Peer<RoleClient>, allowed: &[Arc<str>]) -> Result<Self, Error> {
        let too_many = Error::Malformed(MalformedKind::Shape);
        let mut tools = BTreeMap::new();
        let mut cursor = None;
        for _ in 0..PAGES_MAX {
            let page = PaginatedRequestParams::default().with_cursor(cursor);
            let page = peer.list_tools(Some(page)).await.map_err(|error| fault::of(&error))?;
            for tool in page.tools.into_iter().filter(|tool| tool.name.len() <= NAME_BYTES_MAX) {
                let name: Arc<str> = tool.name.as_ref().into();
                let entry = Entry::new(&name, &tool, allowed.contains(&name));
                tools.insert(name, entry);
            }
            if tools.len() > TOOLS_MAX {
                return Err(too_many);
            }
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(Self { tools });
            }
        }
        Err(too_many)
    }

    /// The tools, ordered by name.
    pub(super) fn tools(&self) -> Vec<Tool> {
        self.tools.values().map(|entry| entry.tool.clone()).collect()
    }

    /// The check of a tool's arguments, when the tool exists, is allowed and can be checked.
    pub(super) fn check_of(&self, name: &str) -> Option<&ArgumentCheck> {
        self.tools.get(name)?.check.as_ref()
    }
}

impl Entry {
    fn new(name: &Arc<str>, tool: &rmcp::model::Tool, allowed: bool) -> Self {
        let check = allowed.then(|| ArgumentCheck::compile(&tool.input_schema)).flatten();
        let read_only_hint = tool.annotations.as_ref().and_then(|hints| hints.read_only_hint);
        Self { tool: Tool { name: Arc::clone(name), allowed, read_only_hint, checkable: check.is_some() }, check }
    }
}
