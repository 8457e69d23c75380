//! One GET, for tests of an installation: an image from scratch has no other tool.

use std::{io, time::Duration};

const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub(crate) enum ProbeError {
    #[error("can't start: {0}")]
    Start(#[from] io::Error),
    #[error("{0}")]
    Request(#[from] reqwest::Error),
    #[error("{status}: {body}")]
    Status { status: reqwest::StatusCode, body: String },
}

pub(crate) fn probe(url: &str) -> Result<(), ProbeError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = reqwest::Client::builder()
            .timeout(PATIENCE)
            .no_proxy()
            // The image has none, and plain HTTP needs none.
            .tls_certs_only([])
            .build()?;
        let response = client.get(url).send().await?;
        let status = response.status();
        let body = response.text().await?;
        if status != reqwest::StatusCode::OK {
            return Err(ProbeError::Status { status, body });
        }
        print!("{body}");
        Ok(())
    })
}
