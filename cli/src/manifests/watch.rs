//! Tells when something in a folder has changed.
//!
//! No debounce: the receiver sees that there was a change, reads when it gets to it, and what happens meanwhile is one
//! more change. Where the system says when a writer has closed its file (Linux), that is the change and not each write.

use std::path::Path;

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::watch;

/// Watches until it is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    changes: watch::Receiver<()>,
    _watcher: RecommendedWatcher,
}

impl Watch {
    /// Watches a folder and what is below it.
    ///
    /// # Errors
    /// When the system refuses: the folder is gone, or there are too many watches.
    pub(crate) fn new(folder: &Path) -> Result<Self, notify::Error> {
        let (changed, changes) = watch::channel(());
        let mut watcher = notify::recommended_watcher(move |event: Result<notify::Event, notify::Error>| {
            // An error means that events were lost, so there may have been one.
            if event.map_or(true, |event| event.need_rescan() || is_change(event.kind)) {
                changed.send_replace(());
            }
        })?;
        watcher.watch(folder, RecursiveMode::Recursive)?;
        Ok(Self { changes, _watcher: watcher })
    }

    /// Waits for a change since the last call. Cancel safe.
    pub(crate) async fn changed(&mut self) {
        if self.changes.changed().await.is_err() {
            // The watcher lives as long as we do, so its sender does.
            std::future::pending::<()>().await;
        }
    }
}

fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        // A file is read when its writer is done, where we are told of that: half of it would be missing before.
        EventKind::Modify(ModifyKind::Data(_)) | EventKind::Create(notify::event::CreateKind::File) => {
            !cfg!(target_os = "linux")
        }
        EventKind::Modify(ModifyKind::Metadata(_)) => false,
        EventKind::Any
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Remove(_)
        | EventKind::Other => true,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::Watch;

    async fn sees(watch: &mut Watch) -> bool {
        timeout(Duration::from_secs(5), watch.changed()).await.is_ok()
    }

    #[tokio::test]
    async fn a_write_a_rename_and_a_removal_are_changes() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut watch = Watch::new(folder.path()).expect("watches");
        let file = folder.path().join("a.yaml");
        fs::write(&file, "a").expect("writes");
        assert!(sees(&mut watch).await, "a write");
        fs::write(folder.path().join(".a.yaml.swp"), "b").expect("writes");
        assert!(sees(&mut watch).await, "an editor's copy");
        fs::rename(folder.path().join(".a.yaml.swp"), &file).expect("renames");
        assert!(sees(&mut watch).await, "a rename");
        fs::create_dir(folder.path().join("below")).expect("makes");
        assert!(sees(&mut watch).await, "a folder");
        fs::remove_file(&file).expect("removes");
        assert!(sees(&mut watch).await, "a removal");
    }
}
