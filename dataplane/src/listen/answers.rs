//! Leads the requests of one HTTP/1 connection into the pipeline.

use std::rc::Rc;

use bytes::BytesMut;
use http::{Request, Response};

use crate::{
    Reason,
    http::{
        body::ResponseBody,
        client_body::ClientBody,
        connection::Connection,
        http1::{Body, Service, Transport},
        pipeline,
    },
};

#[derive(Debug)]
pub(super) struct Answers(pub(super) Rc<Connection>);

impl Service for Answers {
    type Body = ResponseBody;

    fn serve(&self, request: Request<Body>) -> impl Future<Output = Response<ResponseBody>> {
        pipeline::serve(Rc::clone(&self.0), request.map(ClientBody::Http1))
    }

    fn refuse(&self, reason: Reason) -> Response<ResponseBody> {
        pipeline::refuse(&self.0, reason)
    }

    async fn upgrade<S: Transport + 'static>(&self, body: ResponseBody, stream: S, early: BytesMut) {
        if let Some((tunnel, exchange)) = body.into_tunnel() {
            tunnel.run(exchange, stream, early).await;
        }
    }

    fn draining(&self) -> impl Future<Output = ()> {
        self.0.worker.draining()
    }

    fn is_draining(&self) -> bool {
        self.0.worker.is_draining()
    }
}
