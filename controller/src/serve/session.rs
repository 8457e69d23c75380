//! One dataplane's stream, from its `Hello` to its end.
//!
//! Nothing here waits for the dataplane alone: while a part can't be sent, its messages are still read and its deadlines
//! kept, so one that stopped reading is dropped like one that stopped answering.

use std::sync::Arc;

use gatehouse_proto::config::v1::{
    Ack, ClientMessage, Heartbeat, ServerMessage, client_message::Kind as FromClient,
    server_message::Kind as FromUs,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tonic::{Status, Streaming};
use tracing::{info, warn};

use super::{Options, gateway::Seat, parts::InFlight, peer::Peer, published::Published, report::Report};

/// So many silent beats mean that the dataplane is gone.
const SILENT_BEATS: u32 = 3;

pub(super) struct Session {
    seat: Seat,
    peer: Peer,
    options: Options,
    inbound: Streaming<ClientMessage>,
    outbound: mpsc::Sender<Result<ServerMessage, Status>>,
    published: watch::Receiver<Option<Arc<Published>>>,
    /// Of the last batch. 0: none was sent.
    nonce: u64,
    in_flight: Option<InFlight>,
}

impl Session {
    pub(super) fn new(
        seat: Seat,
        peer: Peer,
        options: Options,
        inbound: Streaming<ClientMessage>,
        outbound: mpsc::Sender<Result<ServerMessage, Status>>,
    ) -> Self {
        let published = seat.gateway().state();
        Session { seat, peer, options, inbound, outbound, published, nonce: 0, in_flight: None }
    }

    /// Returns when the stream has ended.
    pub(super) async fn run(mut self) -> Seat {
        let node = self.seat.node().to_owned();
        match self.serve().await {
            Ok(()) => info!(node, "dataplane disconnected"),
            Err(status) => {
                warn!(node, reason = status.message(), "dataplane dropped");
                // When there is no room for the reason, the end of the stream must do.
                let _ = self.outbound.try_send(Err(status));
            }
        }
        self.seat
    }

    /// `Ok`: the dataplane ended it.
    async fn serve(&mut self) -> Result<(), Status> {
        let outbound = self.outbound.clone();
        let mut beat = interval(self.options.heartbeat);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        let mut progressed = Instant::now();
        loop {
            if self.in_flight.is_none() && self.begin() {
                progressed = Instant::now();
            }
            let waiting = self.in_flight.is_some();
            let sending = self.in_flight.as_ref().is_some_and(|batch| !batch.sent());
            tokio::select! {
                permit = outbound.reserve(), if sending => {
                    let Ok(permit) = permit else { return Ok(()) };
                    if let Some(batch) = &mut self.in_flight {
                        permit.send(Ok(message(FromUs::Batch(batch.next_part()))));
                    }
                    progressed = Instant::now();
                }
                received = self.inbound.message() => {
                    let Ok(Some(received)) = received else { return Ok(()) };
                    heard = Instant::now();
                    match received.kind {
                        Some(FromClient::Ack(ack)) => self.acknowledge(ack)?,
                        Some(FromClient::Hello(_)) => {
                            return Err(Status::invalid_argument("a stream has one Hello"));
                        }
                        Some(FromClient::Report(report)) => self.seat.counted(Report::of(report)),
                        Some(FromClient::KeysWanted(wanted)) => {
                            if let Some(refresh) = &self.options.refresh {
                                refresh.refresh_now(&wanted.jwks);
                            }
                        }
                        Some(FromClient::Heartbeat(_)) | None => {}
                    }
                }
                // The sender lives in the Gateway, in which this session has a seat.
                _ = self.published.changed(), if !waiting => self.published.mark_changed(),
                // Parts show as well that we live.
                _ = beat.tick(), if !sending => {
                    if let Err(mpsc::error::TrySendError::Closed(_)) =
                        outbound.try_send(Ok(message(FromUs::Heartbeat(Heartbeat {}))))
                    {
                        return Ok(());
                    }
                }
                () = sleep_until(heard + SILENT_BEATS * self.options.heartbeat) => {
                    return Err(Status::deadline_exceeded("nothing was heard for three beats"));
                }
                () = sleep_until(progressed + self.options.ack_deadline), if waiting => {
                    return Err(Status::deadline_exceeded("a batch was not acknowledged in time"));
                }
                () = outbound.closed() => return Ok(()),
            }
        }
    }

    /// Starts a batch if there is something new to tell. The first of a stream starts even if it is empty: it says that
    /// what the dataplane holds is whole.
    fn begin(&mut self) -> bool {
        if !self.published.has_changed().unwrap_or(false) {
            return false;
        }
        let Some(desired) = self.published.borrow_and_update().clone() else { return false };
        let delta = self.peer.delta(Arc::clone(&desired));
        if self.nonce > 0 && delta.is_empty() {
            self.seat.report(desired.generation, desired.version, self.peer.rejected());
            return false;
        }
        self.nonce += 1;
        self.in_flight = Some(InFlight::new(self.nonce, delta));
        true
    }

    fn acknowledge(&mut self, ack: Ack) -> Result<(), Status> {
        let nonce = ack.nonce;
        match self.in_flight.take().and_then(|batch| batch.acknowledged_by(ack)) {
            Some((delta, rejected)) => {
                let state = Arc::clone(&delta.desired);
                self.peer.acknowledge(delta, rejected);
                self.seat.report(state.generation, state.version, self.peer.rejected());
                Ok(())
            }
            None => Err(Status::invalid_argument(format!("no batch with nonce {nonce} waits for an ack"))),
        }
    }
}

fn message(kind: FromUs) -> ServerMessage {
    ServerMessage { kind: Some(kind) }
}
