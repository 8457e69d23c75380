//! Tells when something in a folder has changed.
//!
//! No debounce: the receiver sees that there was a change, reads when it gets to it, and what happens meanwhile is one
//! more change. Where the system says when a writer has closed its file (Linux), that is the change and not each write.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, CreateKind, EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// What is written into a fresh folder before it is watched itself is found by looking again after this time.
const SETTLES: Duration = Duration::from_millis(250);

/// A folder that was replaced is watched again as soon as it is there.
const LOOKS_AGAIN: Duration = Duration::from_millis(500);

/// Watches until it is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    folder: PathBuf,
    /// Tells the folder that is watched from another one of the same name.
    inode: u64,
    /// When a folder below was last made.
    changes: watch::Receiver<Option<Instant>>,
    look_again: Option<Instant>,
    _watcher: RecommendedWatcher,
}

impl Watch {
    /// Watches a folder and what is below it.
    ///
    /// # Errors
    /// When the system refuses: the folder is gone, or there are too many watches.
    pub(crate) fn new(folder: &Path) -> Result<Self, notify::Error> {
        let (changed, changes) = watch::channel(None);
        let mut watcher = notify::recommended_watcher(move |event: Result<notify::Event, notify::Error>| {
            match event {
                Ok(event) if !event.need_rescan() => {
                    if is_change(&event) {
                        changed.send_modify(|made| {
                            if makes_folder(&event) {
                                *made = Some(Instant::now());
                            }
                        });
                    }
                }
                // Events were lost, so there may have been one.
                Ok(_) | Err(_) => changed.send_modify(|_| {}),
            }
        })?;
        let inode = inode(folder)?;
        watcher.watch(folder, RecursiveMode::Recursive)?;
        Ok(Self { folder: folder.to_owned(), inode, changes, look_again: None, _watcher: watcher })
    }

    /// Waits for a change since the last call. Cancel safe.
    pub(crate) async fn changed(&mut self) {
        loop {
            let again = self.look_again;
            tokio::select! {
                changed = self.changes.changed() => {
                    if changed.is_err() {
                        // The watcher lives as long as we do, so its sender does.
                        std::future::pending::<()>().await;
                    }
                    let made = self.changes.borrow_and_update().map(|made| made + SETTLES);
                    self.look_again = made.filter(|again| *again > Instant::now());
                    self.renew();
                    return;
                }
                () = async { sleep_until(again.unwrap_or_else(Instant::now)).await }, if again.is_some() => {
                    self.look_again = None;
                    self.renew();
                    if self.look_again.is_none() {
                        return;
                    }
                }
            }
        }
    }

    /// The system watches a folder and not its name: one that takes its place is unknown to it.
    fn renew(&mut self) {
        if inode(&self.folder).is_ok_and(|inode| inode == self.inode) {
            return;
        }
        match Self::new(&self.folder) {
            Ok(renewed) => *self = renewed,
            Err(_) => self.look_again = Some(Instant::now() + LOOKS_AGAIN),
        }
    }
}

fn inode(path: &Path) -> io::Result<u64> {
    Ok(path.metadata()?.ino())
}

fn is_change(event: &notify::Event) -> bool {
    match event.kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        // A file is read when its writer is done, where we are told of that: half of it would be missing before.
        EventKind::Modify(ModifyKind::Data(_)) => !cfg!(target_os = "linux"),
        EventKind::Create(CreateKind::File) => {
            !cfg!(target_os = "linux") || event.paths.iter().any(|path| is_link(path))
        }
        EventKind::Modify(ModifyKind::Metadata(_)) => false,
        EventKind::Any
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Remove(_)
        | EventKind::Other => true,
    }
}

fn makes_folder(event: &notify::Event) -> bool {
    matches!(event.kind, EventKind::Create(_) | EventKind::Modify(ModifyKind::Name(_)))
        && event.paths.iter().any(|path| path.is_dir())
}

/// Nobody writes a file that is linked into the folder, so nobody closes it.
fn is_link(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink() || metadata.nlink() > 1)
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
        assert!(sees(&mut watch).await, "what was written into the folder before it was watched");
        fs::remove_file(&file).expect("removes");
        assert!(sees(&mut watch).await, "a removal");
        fs::write(folder.path().join("below/b.yaml"), "b").expect("writes");
        assert!(sees(&mut watch).await, "a write below");
        std::os::unix::fs::symlink(folder.path().join("below/b.yaml"), &file).expect("links");
        assert!(sees(&mut watch).await, "a link");
    }

    #[tokio::test]
    async fn a_folder_that_takes_its_place_is_watched() {
        let base = tempfile::tempdir().expect("a folder");
        let (path, other) = (base.path().join("a"), base.path().join("b"));
        fs::create_dir(&path).expect("makes");
        fs::create_dir(&other).expect("makes");
        let mut watch = Watch::new(&path).expect("watches");
        fs::rename(&path, base.path().join("c")).expect("renames");
        assert!(sees(&mut watch).await, "it went away");
        fs::rename(&other, &path).expect("renames");
        assert!(sees(&mut watch).await, "another is there");
        fs::write(path.join("a.yaml"), "a").expect("writes");
        assert!(sees(&mut watch).await, "a write into the other");
    }
}
