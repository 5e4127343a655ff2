//! Tests of the journal, from the outside in.

use std::sync::Arc;

use colloquy_types::{SystemClock, SystemEntropy};
use tempfile::TempDir;

use super::{JournalOptions, JournalStore};
use crate::{
    conformance,
    port::{BoxFuture, ConversationStore},
};

/// A store in a temporary folder, with segments so small that the kit goes through many.
struct Journal {
    folder: TempDir,
}

fn options(folder: &TempDir) -> JournalOptions {
    JournalOptions {
        segment_bytes: 64 << 10,
        checkpoint_bytes: 256 << 10,
        ..JournalOptions::new(folder.path().join("store"))
    }
}

fn open(options: &JournalOptions) -> JournalStore {
    JournalStore::open(options, Arc::new(SystemClock), Arc::new(SystemEntropy)).unwrap()
}

impl conformance::Harness for Journal {
    fn open(&self) -> BoxFuture<'_, Arc<dyn ConversationStore>> {
        Box::pin(async { Arc::new(open(&options(&self.folder))) as Arc<dyn ConversationStore> })
    }
}

#[tokio::test]
async fn journal_passes_the_conformance_kit() {
    conformance::run_all(|| Journal { folder: TempDir::new().unwrap() }).await;
}
