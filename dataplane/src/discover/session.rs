//! One channel, from `Hello` to its end, and what outlives it: the holdings and the applier.
//!
//! Batches are applied on a thread of their own, so that heartbeats go on however long one takes.

use std::{future::pending, panic::resume_unwind, time::Duration};

use gatehouse_proto::config::v1::{
    Ack, Batch, ClientMessage, Heartbeat, Hello, KeysWanted, ServerMessage, client_message::Kind as FromUs,
    config_service_client::ConfigServiceClient, server_message::Kind as FromServer,
};
use tokio::{
    sync::{mpsc, watch},
    task::{JoinHandle, spawn_blocking},
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tracing::info;

use super::{
    Apply, Broken, Changes, Link, Options, Outcome, Recovered, Source, Status, Upserts,
    holdings::{Holdings, Pending},
};

/// A batch part is about 1 MiB; a single resource can be larger, but the controller keeps it below this.
const MESSAGE_BYTES: usize = 16 << 20;
/// One ack and one heartbeat can wait for the transport beside the `Hello`.
const OUTBOUND_MESSAGES: usize = 3;

/// How often what was counted for rollouts is reported, while there are any.
const REPORTS: Duration = Duration::from_secs(1);

pub(super) struct Session<A> {
    options: Options,
    holdings: Holdings,
    /// Away while a batch is applied.
    applier: Option<A>,
    applying: Option<Applying<A>>,
    status: watch::Sender<Status>,
    /// Sources of keys that are to be fetched anew.
    questions: mpsc::Receiver<String>,
    progress: bool,
    /// The controller's whole state was applied on this channel.
    whole: bool,
}

/// A batch that is done.
struct Applied<A> {
    nonce: u64,
    source: Source,
    pending: Pending,
    applier: A,
    outcome: Outcome,
}

struct Applying<A> {
    nonce: u64,
    source: Source,
    work: JoinHandle<(A, Pending, Outcome)>,
}

impl<A: Apply> Session<A> {
    pub(super) fn new(
        options: Options,
        applier: A,
        status: watch::Sender<Status>,
        questions: mpsc::Receiver<String>,
    ) -> Self {
        Session {
            options,
            holdings: Holdings::default(),
            applier: Some(applier),
            applying: None,
            status,
            questions,
            progress: false,
            whole: false,
        }
    }

    pub(super) fn options(&self) -> &Options {
        &self.options
    }

    /// Whether anything was heard since the last call.
    pub(super) fn take_progress(&mut self) -> bool {
        std::mem::take(&mut self.progress)
    }

    /// An attempt has come to its end.
    pub(super) fn failed(&self) {
        self.status.send_modify(|status| status.failures = status.failures.saturating_add(1));
    }

    pub(super) async fn run(&mut self, link: Link) -> Broken {
        let broken = self.converse(link).await.err().unwrap_or(Broken::Ended);
        self.close().await;
        broken
    }

    /// Applies a state that did not come from the controller, unless one has come from it after all. A channel that is
    /// open must have been dropped.
    pub(super) async fn recover(&mut self, recovered: Recovered) {
        self.close().await;
        if self.status.borrow().synced {
            return;
        }
        let Recovered { source, resources, exact, age } = recovered;
        info!(gateway = self.options.gateway, %source, resources = resources.len(), "the controller is silent");
        self.begin(0, source, Upserts::new(resources, exact), Vec::new());
        let applied = finished(&mut self.applying).await;
        self.settle(applied);
        let confirmed = std::time::Instant::now().checked_sub(age);
        self.status.send_modify(|status| status.confirmed = confirmed.or(status.confirmed));
    }

    async fn close(&mut self) {
        self.status.send_modify(|status| status.connected = false);
        // What has begun is finished, so that the next `Hello` says what is true.
        if self.applying.is_some() {
            let applied = finished(&mut self.applying).await;
            self.settle(applied);
        }
        self.whole = false;
    }

    async fn converse(&mut self, link: Link) -> Result<(), Broken> {
        let (outbound, messages) = mpsc::channel(OUTBOUND_MESSAGES);
        let tell = |kind| outbound.try_send(ClientMessage { kind: Some(kind) }).map_err(|_| Broken::Stuck);
        tell(FromUs::Hello(self.hello()))?;
        let mut client = ConfigServiceClient::new(link.channel()).max_decoding_message_size(MESSAGE_BYTES);
        let silence = self.options.silence();
        let opening = timeout(silence, client.watch(link.request(ReceiverStream::new(messages))));
        let mut inbound: Streaming<ServerMessage> =
            opening.await.map_err(|_| Broken::Silent(silence))??.into_inner();
        info!(gateway = self.options.gateway, "configuration channel is open");
        self.status.send_modify(|status| {
            status.connected = true;
            status.failures = 0;
        });

        let mut beat = interval(self.options.heartbeat);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut report = interval(REPORTS);
        report.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        let mut parts = Batch::default();
        loop {
            tokio::select! {
                message = inbound.message() => {
                    let message = message?.ok_or(Broken::Ended)?;
                    heard = Instant::now();
                    self.heard(heard);
                    let Some(FromServer::Batch(part)) = message.kind else { continue };
                    if self.applying.is_some() {
                        return Err(Broken::Overlapping);
                    }
                    parts.upserts.extend(part.upserts);
                    parts.removals.extend(part.removals);
                    if !part.more {
                        let Batch { upserts, removals, .. } = std::mem::take(&mut parts);
                        self.begin(part.nonce, Source::Controller, Upserts::new(upserts, true), removals);
                    }
                }
                applied = finished(&mut self.applying) => {
                    let nonce = self.settle(applied);
                    tell(FromUs::Ack(Ack { nonce, rejected: self.holdings.rejections() }))?;
                }
                // The next report says all that this one would have.
                _ = report.tick() => if outbound.capacity() > 1 && let Some(report) = self.options.reports.make() {
                    tell(FromUs::Report(report))?;
                },
                // One place stays free for an ack. A beat that finds no room is told late by what fills it.
                _ = beat.tick() => if outbound.capacity() > 1 {
                    tell(FromUs::Heartbeat(Heartbeat {}))?;
                },
                Some(jwks) = self.questions.recv(), if outbound.capacity() > 1 => {
                    tell(FromUs::KeysWanted(KeysWanted { jwks }))?;
                }
                () = sleep_until(heard + silence) => return Err(Broken::Silent(silence)),
            }
        }
    }

    fn hello(&self) -> Hello {
        Hello {
            node: self.options.node.clone(),
            gateway: self.options.gateway.clone(),
            build: env!("CARGO_PKG_VERSION").to_owned(),
            holds: self.holdings.held(),
            rejected: self.holdings.refused(),
        }
    }

    fn heard(&mut self, at: Instant) {
        self.progress = true;
        self.status.send_if_modified(|status| {
            status.last_message = Some(at.into_std());
            // What comes on a channel whose first batch was applied says that there is nothing newer than what came.
            if self.whole {
                status.confirmed = status.last_message;
            }
            false
        });
    }

    fn begin(&mut self, nonce: u64, source: Source, mut upserts: Upserts, removals: Vec<String>) {
        let Some(mut applier) = self.applier.take() else { return };
        let work = spawn_blocking(move || {
            let mut outcome = applier.apply(Changes { upserts: &mut upserts, removals: &removals });
            let (pending, damaged) = upserts.finish(removals);
            outcome.refused.extend(damaged);
            (applier, pending, outcome)
        });
        self.applying = Some(Applying { nonce, source, work });
    }

    /// Returns the nonce to acknowledge.
    fn settle(&mut self, applied: Applied<A>) -> u64 {
        let Applied { nonce, source, pending, applier, outcome } = applied;
        self.applier = Some(applier);
        self.holdings.settle(pending, outcome);
        let (unknown, rejected) = (self.holdings.unknown(), self.holdings.rejections().len());
        self.status.send_if_modified(|status| {
            let before = (status.synced, status.unknown, status.rejected);
            status.source.get_or_insert(source);
            self.whole |= source == Source::Controller;
            if self.whole {
                status.confirmed = status.last_message;
            }
            (status.synced, status.unknown, status.rejected) = (true, unknown, rejected);
            before != (true, unknown, rejected)
        });
        nonce
    }
}

/// Waits for the batch that is being applied; for ever when there is none. Nothing is lost when it is dropped.
async fn finished<A>(applying: &mut Option<Applying<A>>) -> Applied<A> {
    let Some(under_way) = applying.as_mut() else { return pending().await };
    let result = (&mut under_way.work).await;
    let Some(Applying { nonce, source, .. }) = applying.take() else { return pending().await };
    match result {
        Ok((applier, pending, outcome)) => Applied { nonce, source, pending, applier, outcome },
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime is shutting down, and this task with it.
            Err(_) => pending().await,
        },
    }
}
