//! The last good state on disk: written a moment after each change, read at the start.
//!
//! ```text
//! MAGIC, SHA-256 of all that follows, Header, Resource, Resource ...   (messages are length-delimited protobuf)
//! ```
//!
//! A file is replaced as a whole or not at all. What can't be trusted is ignored: a damaged file, one of another Gateway
//! or of another format. The file holds private keys, so only its owner may read it.

mod format;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep_until},
};
use tracing::{info, warn};

use crate::{kept::Kept, observe::metrics::Metrics};
use format::{Header, Unusable};

const NAME: &str = "state";
/// A whole state of ten times what a Gateway is tested with stays below it.
const MOST_BYTES: u64 = 1 << 30;
/// At most one write in this time.
const PAUSE: Duration = Duration::from_secs(1);

/// Where the state of a Gateway is kept.
#[derive(Debug, Clone)]
pub(crate) struct StateFile {
    directory: PathBuf,
    gateway: String,
    metrics: Arc<Metrics>,
}

/// A state that was kept.
pub(crate) struct Loaded {
    /// Encoded.
    pub(crate) resources: Vec<Bytes>,
    /// It was written by this very version.
    pub(crate) exact: bool,
    /// Since it was written.
    pub(crate) age: Duration,
}

impl StateFile {
    pub(crate) fn new(directory: PathBuf, gateway: String, metrics: Arc<Metrics>) -> Self {
        StateFile { directory, gateway, metrics }
    }

    /// `None` when there is nothing that can be used.
    pub(crate) async fn load(&self) -> Option<Loaded> {
        let this = self.clone();
        let read = spawn_blocking(move || this.read()).await;
        match read {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => {
                self.metrics.state_files_ignored.add(1);
                warn!(file = %self.path().display(), %error, "the state on disk is ignored");
                None
            }
            // Only at the end of the runtime.
            Err(_) => None,
        }
    }

    /// Writes what is kept whenever it has changed. Never ends.
    pub(crate) async fn follow(self, kept: Arc<Kept>) {
        let mut changes = kept.changes();
        // There may be something already.
        changes.mark_changed();
        loop {
            // The sender lives in what is kept.
            let _ = changes.changed().await;
            let next = Instant::now() + PAUSE;
            let (this, kept) = (self.clone(), Arc::clone(&kept));
            let written = spawn_blocking(move || this.write(&kept)).await;
            if let Ok(Err(error)) = written {
                self.metrics.state_write_failures.add(1);
                warn!(directory = %self.directory.display(), %error, "the state can't be written to disk");
                // What could not be written now may be later.
                changes.mark_changed();
            }
            sleep_until(next).await;
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.join(NAME)
    }

    fn read(&self) -> Result<Option<Loaded>, Unusable> {
        let path = self.path();
        let length = match fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if length > MOST_BYTES {
            return Err(Unusable::TooLarge(length));
        }
        let (header, resources) = format::decode(&fs::read(&path)?.into())?;
        if header.gateway != self.gateway {
            return Err(Unusable::OtherGateway(header.gateway));
        }
        info!(resources = resources.len(), "there is a state on disk");
        Ok(Some(Loaded {
            resources,
            exact: header.build == env!("CARGO_PKG_VERSION"),
            age: SystemTime::now().duration_since(header.written()).unwrap_or_default(),
        }))
    }

    /// Nothing while there is no whole state. Blocks.
    pub(crate) fn write(&self, kept: &Kept) -> io::Result<()> {
        let Some(resources) = kept.whole() else { return Ok(()) };
        let header = Header::new(&self.gateway, SystemTime::now());
        let (head, resources) = format::encode(&header, &resources);
        let temporary = self.directory.join(format!("{NAME}.tmp"));
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        // One that was left behind may have had another mode.
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        {
            let mut writer = io::BufWriter::with_capacity(256 << 10, &mut file);
            writer.write_all(&head)?;
            for (length, resource) in resources {
                writer.write_all(&length)?;
                writer.write_all(resource)?;
            }
            writer.flush()?;
        }
        file.sync_all()?;
        fs::rename(&temporary, self.path())?;
        sync_directory(&self.directory)
    }
}

/// Makes the new name last.
fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests;
