//! A body from a backend that is compressed on its way. What has come is never held back for more to come.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    filter::compression::Encoder,
    upstream::{BackendBody, BodyError},
};

/// So much is sent on before more is read.
const PIECE: usize = 8 << 10;

#[derive(Debug)]
pub(crate) struct Compressed {
    body: BackendBody,
    /// `None` behind the last byte.
    encoder: Option<Encoder>,
    /// It has taken what it has not given.
    holds: bool,
    trailers: Option<HeaderMap>,
    _permit: OwnedSemaphorePermit,
}

impl Compressed {
    pub(super) fn new(body: BackendBody, encoder: Encoder, permit: OwnedSemaphorePermit) -> Box<Self> {
        Box::new(Compressed { body, encoder: Some(encoder), holds: false, trailers: None, _permit: permit })
    }

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>> {
        loop {
            let Some(encoder) = &mut self.encoder else { return Poll::Ready(Ok(None)) };
            if encoder.ready() >= PIECE {
                return Poll::Ready(Ok(Some(encoder.take())));
            }
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => {
                    if !self.holds {
                        return Poll::Pending;
                    }
                    self.holds = false;
                    encoder.flush().map_err(BodyError::Coding)?;
                    if encoder.ready() > 0 {
                        return Poll::Ready(Ok(Some(encoder.take())));
                    }
                    return Poll::Pending;
                }
                Poll::Ready(Some(frame)) => match frame?.into_data() {
                    Ok(data) => {
                        encoder.write(&data).map_err(BodyError::Coding)?;
                        self.holds = true;
                    }
                    Err(other) => self.trailers = other.into_trailers().ok(),
                },
                Poll::Ready(None) => {
                    let last =
                        self.encoder.take().map(Encoder::finish).transpose().map_err(BodyError::Coding)?;
                    return Poll::Ready(Ok(last));
                }
            }
        }
    }
}

impl Body for Compressed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let data = std::task::ready!(self.poll_data(cx));
        Poll::Ready(match data {
            Ok(Some(data)) => Some(Ok(Frame::data(data))),
            Ok(None) => self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))),
            Err(error) => Some(Err(error)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.encoder.is_none() && self.trailers.is_none()
    }
}
