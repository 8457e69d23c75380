//! A new connection for every request: what counts is the handshake.

use std::{io, rc::Rc};

use tokio::io::AsyncWriteExt;

use super::{
    Arrivals, Counts, Shape,
    http1::{Answers, request},
    stream::connect,
};

/// Each of these clients remembers its own sessions.
pub(super) async fn run(mut shape: Shape, resumed: bool, arrivals: Rc<Arrivals>, counts: Counts) {
    shape.trust = shape.trust.map(|trust| trust.anew(resumed));
    let mut is_first = true;
    loop {
        let due = arrivals.next().await;
        match once(&shape).await {
            // The first has nothing to resume.
            Ok(_) if is_first => is_first = false,
            Ok(was_resumed) if was_resumed == resumed => counts.completed(due),
            _ => {
                counts.failed();
                tokio::task::yield_now().await;
            }
        }
    }
}

/// Whether the session was resumed.
async fn once(shape: &Shape) -> io::Result<bool> {
    let (mut stream, resumed) = connect(shape.address, shape.trust.as_ref()).await?;
    stream.write_all(&request(shape)).await?;
    Answers::default().read(stream.as_mut(), shape.size).await?;
    Ok(resumed)
}
