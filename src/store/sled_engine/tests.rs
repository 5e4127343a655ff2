//! The `sled` engine against the kit.

use colloquy_types::SystemEntropy;
use tempfile::TempDir;

use super::*;
use crate::conformance;

struct Folder(TempDir);

impl conformance::Harness for Folder {
    fn open(&self) -> BoxFuture<'_, Arc<dyn ConversationStore>> {
        Box::pin(async {
            let store = SledStore::open(self.0.path(), 8 << 20, Arc::new(SystemEntropy)).unwrap();
            Arc::new(store) as Arc<dyn ConversationStore>
        })
    }

    fn crash(&self, store: Arc<dyn ConversationStore>) -> BoxFuture<'_, ()> {
        drop(store);
        Box::pin(async {})
    }
}

#[tokio::test]
async fn sled_passes_the_conformance_kit() {
    conformance::run_all(|| Folder(TempDir::new().unwrap())).await;
}
