//! A connection during one exchange, with what of the request has not been sent.

use std::{
    future::poll_fn,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::Body;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{BoxError, Connection, Error, Scratch, outgoing::Outgoing};

#[derive(Debug)]
pub(crate) struct Link<S, B> {
    pub(super) connection: Connection<S>,
    /// `None` when all was sent, or can't be.
    pub(super) outgoing: Option<Outgoing<B>>,
    /// Nothing speaks against another exchange yet.
    pub(super) keep: bool,
}

/// What is left when a response has been read to its end.
#[derive(Debug)]
pub(crate) enum Outcome<S, B> {
    /// Fit for the next request.
    Free(Connection<S>),
    /// The backend answered before it had the whole request, which it may still want. Not to be used again.
    Sending(Box<Link<S, B>>),
    /// To be closed.
    Spent,
}

impl<S, B> Link<S, B>
where
    S: AsyncRead + AsyncWrite + Unpin,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    /// Sends what can be sent now. Fails only by the request's own body: a backend that takes no more of it may still
    /// have answered.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>, scratch: Option<&Scratch>) -> Result<(), Error> {
        let Some(outgoing) = &mut self.outgoing else { return Ok(()) };
        match outgoing.poll_send(cx, &mut self.connection.stream) {
            Poll::Pending => return Ok(()),
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(Error::Io(_))) => self.keep = false,
            Poll::Ready(Err(error)) => return Err(error),
        }
        if let Some(outgoing) = self.outgoing.take()
            && let Some(scratch) = scratch
        {
            outgoing.finish(scratch);
        }
        Ok(())
    }

    /// Call it when the response has been read to its end.
    pub(super) fn end(mut self) -> Outcome<S, B> {
        if self.outgoing.is_some() {
            return Outcome::Sending(Box::new(self));
        }
        if !self.keep || !self.connection.buffer.is_empty() {
            return Outcome::Spent;
        }
        self.connection.rest();
        Outcome::Free(self.connection)
    }

    /// Sends the rest of the request, whose response has been read. Bound its time.
    pub(crate) async fn finish_sending(mut self) {
        poll_fn(|cx| match self.poll_send(cx, None) {
            Ok(()) if self.outgoing.is_some() => Poll::Pending,
            Ok(()) | Err(_) => Poll::Ready(()),
        })
        .await;
    }
}
